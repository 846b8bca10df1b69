#pragma once

#include <vector>

#include "engine/context.h"
#include "engine/parameters.h"
#include "engine/program.h"
#include "kernels/convolution.h"
#include "kernels/convolution_weights.h"

namespace iwseg {

/// The memory of one convolution's packed weights and gradient; -1 where it takes and gives the parameters' own form.
struct PackedTensors {
    Tensor weights = -1, gradient = -1;
};

/// Packs the weights of all convolutions of a graph that want them so, in one launch at a program's front, and unpacks
/// their gradients in one at its end: a network has tens of convolutions, and each would do so in each of its passes.
class PackedWeights {
  public:
    PackedWeights(Context& context, Parameters& parameters) : context_(context), parameters_(parameters) {}

    /// Before the program has steps that read them. weight, bias: of the parameters; bias -1: none. gradient: it is
    /// wanted.
    PackedTensors add(Program& program, const WeightForm& form, int weight, int bias, bool gradient);
    /// Adds the step that packs all that were added; none, no step.
    void pack(Program& program) const;
    /// Adds the step that unpacks the gradients.
    void unpack(Program& program) const;

  private:
    struct Array {
        Tensor memory;
        std::int64_t at;  ///< bytes from its start
        int parameter;
        Type type;
    };
    static std::vector<Tensor> tensors_of(const std::vector<Array>& arrays);
    std::int64_t bytes_of_both(const std::vector<Array>& arrays) const;  ///< forms
    std::vector<PackedArray> arrays_of_type(const std::vector<Array>& arrays, Type type, const Plan& plan,
                                            bool gradients) const;

    Context& context_;
    Parameters& parameters_;
    std::vector<Array> values_, gradients_;
};

}  // namespace iwseg
