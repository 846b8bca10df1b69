#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// A linear layer (kernels/elementwise/linear.h) of so many samples, and which of its passes are wanted.
struct LinearForm {
    std::int64_t samples = 1, inputs = 1, outputs = 1;
    Type type = Type::f32;  ///< of operand and result
    bool bias = false;
    bool backward_data = true, backward_weights = true;
    std::string plan_file = {};  ///< the choices kept for a run, read first and added to; empty: none

    std::int64_t weight_count() const { return inputs * outputs; }
};

/// A linear layer made ready: who computes a pass was chosen when it was made, and its calls allocate nothing. Operands
/// are those of linear and its gradients, with channels innermost; scratch: scratch_bytes().
class LinearLayer {
  public:
    virtual ~LinearLayer() = default;

    virtual std::string implementation() const = 0;  ///< of the three passes, for people
    virtual std::int64_t scratch_bytes() const = 0;
    virtual void forward(Stream stream, View x, const float* weights, const float* bias, View y,
                         void* scratch) const = 0;
    virtual void backward_data(Stream stream, View diff_y, const float* weights, View diff_x, Write write,
                               void* scratch) const = 0;
    virtual void backward_weights(Stream stream, View x, View diff_y, float* diff_weights, float* diff_bias,
                                  void* scratch) const = 0;
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// Null where linear and its gradients are to be called: always but on CUDA, and there unless a pass of many
    /// weights was measured to be faster otherwise.
    std::unique_ptr<LinearLayer> make_linear(Stream stream, const LinearForm& form);)
