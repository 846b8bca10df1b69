#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"

IWSEG_BACKENDS(
    /// A convolution by our own kernels: any kernel and channels, src and dst each ncdhw or ndhwc, f32 or bf16.
    /// Fast at the network's two ends, plain between them. Weights are rounded to bf16 where src is bf16; sums are f32.
    /// Throws std::invalid_argument on anything else.
    std::unique_ptr<Convolution> make_direct_convolution(const ConvolutionOptions& options, ConvolutionPasses passes);)

namespace iwseg {

/// Weights in one of two forms; the other is null.
struct GeneralWeights {
    const float* plain = nullptr;  ///< (O, C / groups, kernel), rounded to the type of src on the way
    const void* packed = nullptr;  ///< (O, kernel, C / groups) of the type of src
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// The one among them that takes every kernel, stride and group, as a whole and by its passes.
    std::unique_ptr<Convolution> make_general_convolution(const ConvolutionOptions& options, ConvolutionPasses passes);
    /// dst = the result or, where options accumulate, summand, which may be dst, + it.
    void general_forward(Stream stream, const ConvolutionOptions& options, View src, const GeneralWeights& weights,
                         const float* bias, View summand, View dst);
    void general_data_gradient(Stream stream, const ConvolutionOptions& options, View diff_dst,
                               const GeneralWeights& weights, View diff_src);
    std::int64_t general_gradient_scratch_bytes(const ConvolutionOptions& options);
    /// diff_weights: (O, C / groups, kernel) f32.
    void general_weight_gradient(Stream stream, const ConvolutionOptions& options, View src, View diff_dst,
                                 float* diff_weights, void* scratch);)

// One file each, chosen among by make_direct_convolution: the specialised first, each saying what it takes.
// weights, diff_weights: (O, C, k, k, k) f32. src, dst and their gradients: as the options say.
IWSEG_BACKENDS(
    /// From few plain channels to a multiple of 8 that lie innermost, kernel 3: the network's first convolution.
    bool takes_first(const ConvolutionOptions& options);
    void first_forward(Stream stream, const ConvolutionOptions& options, View src, const float* weights,
                       const float* bias, View dst);
    std::int64_t first_gradient_scratch_bytes(const ConvolutionOptions& options);
    void first_weight_gradient(Stream stream, const ConvolutionOptions& options, View src, View diff_dst,
                               float* diff_weights, void* scratch);)

IWSEG_BACKENDS(
    /// From a multiple of 8 innermost channels to at most 4 plain ones in f32, kernel 1: the network's last
    /// convolution.
    bool takes_last(const ConvolutionOptions& options);
    void last_forward(Stream stream, const ConvolutionOptions& options, View src, const float* weights,
                      const float* bias, View dst);
    void last_data_gradient(Stream stream, const ConvolutionOptions& options, View diff_dst, const float* weights,
                            View diff_src);
    std::int64_t last_gradient_scratch_bytes(const ConvolutionOptions& options);
    void last_weight_gradient(Stream stream, const ConvolutionOptions& options, View src, View diff_dst,
                              float* diff_weights, void* scratch);)

IWSEG_BACKENDS(
    /// sums[i] = the sum over p of partial[p * count + i], in a fixed order, in double.
    void join_partial_sums(Stream stream, const float* partial, int parts, std::int64_t count, float* sums);)
