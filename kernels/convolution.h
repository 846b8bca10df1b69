#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "kernels/view.h"

namespace iwseg {

/// A convolution of odd cubic kernel, stride 1, zero padding that keeps the size.
struct ConvolutionOptions {
    Shape src;                      ///< (N, C, D, H, W)
    std::int64_t dst_channels = 1;  ///< O
    int kernel = 3;                 ///< 1 or 3
    Type type = Type::f32;          ///< of the operands: f32, or bf16 with f32 accumulation
    Layout src_layout = Layout::ncdhw, dst_layout = Layout::ncdhw;
    Type src_type = Type::f32, dst_type = Type::f32;  ///< as stored
    bool bias = false;
    Write write = Write::overwrite;  ///< accumulate: dst += the result, a residual sum for free

    Shape dst() const { return {src.n, dst_channels, src.d, src.h, src.w}; }
};

/// One convolution made ready: its plans are chosen when it is made, its calls allocate nothing.
/// weights, diff_weights: (O, C, k, k, k) f32, plain, of the parameters' flat buffer. bias, diff_bias: (O) f32 or null.
class Convolution {
  public:
    virtual ~Convolution() = default;

    virtual std::string implementation() const = 0;   ///< of the three passes, for people
    virtual std::int64_t scratch_bytes() const = 0;   ///< the largest that any call needs
    virtual void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) = 0;
    virtual void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) = 0;
    virtual void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                  void* scratch) = 0;
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// with_backward: false leaves out what only training needs; with_data: the gradient by src is wanted too.
    /// Throws std::invalid_argument on shapes and layouts it cannot take.
    std::unique_ptr<Convolution> make_convolution(const ConvolutionOptions& options, bool with_backward, bool with_data);
    /// The layout activations are fastest in on this device.
    Layout preferred_layout();)
