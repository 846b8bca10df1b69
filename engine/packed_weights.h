#pragma once

#include <memory>
#include <vector>

#include "engine/parameters.h"
#include "engine/program.h"
#include "kernels/convolution/convolution.h"
#include "kernels/convolution/weights.h"

namespace iwseg {

/// The memory of one convolution's packed weights and gradient; none where it takes and gives the parameters' own form.
struct PackedBuffers {
    Buffer weights, gradient;
};

/// Packs the weights of all convolutions of a graph that want them so, in one launch at a program's front, and unpacks
/// their gradients in one at its end: a network has tens of convolutions, and each would do so in each of its passes.
class PackedWeights {
  public:
    explicit PackedWeights(const Parameters& parameters);

    /// Before the program has calls that read them. bias: where there is one. gradient: it is wanted.
    PackedBuffers add(Program& program, const WeightForm& form, ParameterId weight, ParameterId bias, bool gradient);
    /// Adds the call that packs all that were added; none, no call.
    void pack(Program& program) const;
    /// Adds the call that unpacks the gradients, of those that a call has written: no loss need depend on a weight.
    void unpack(Program& program) const;

  private:
    struct Array {
        Buffer memory;
        std::int64_t at;  ///< bytes from its start
        ParameterId parameter;
        Type type;
    };
    /// What the calls read, which outlive this.
    struct Arrays {
        Parameters parameters;
        std::vector<Array> values, gradients;

        static std::vector<Buffer> buffers_of(const std::vector<Array>& arrays);
        std::int64_t bytes_of_both(const std::vector<Array>& arrays) const;  ///< forms
        std::vector<PackedArray> values_of(Type type, const Plan& plan) const;
        std::vector<PackedArray> gradients_of(Type type, const Plan& plan) const;
    };

    std::shared_ptr<Arrays> arrays_;
};

}  // namespace iwseg
