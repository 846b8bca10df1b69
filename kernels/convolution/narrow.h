#pragma once

#include <cstdint>
#include <memory>

#include "kernels/convolution/convolution.h"
#include "kernels/norm/batch_norm.h"

// Convolutions of few channels by tensor cores: kernel 3, 8, 16 or 32 channels on either side, bf16 with channels
// innermost; sm_80 and up. Here a convolution moves about as much as it computes, and libraries, made for many
// channels, fetch each element from L2 once a tap and fill tiles of 32 filters.
namespace iwseg {

/// Weights (O, C, 3, 3, 3) in one of two forms; the other is null.
struct NarrowWeights {
    const float* plain = nullptr;  ///< rounded to bf16 on the way
    const void* packed = nullptr;  ///< (O, 3, 3, 3, C) bf16
};

/// What a narrow convolution can do on the way; null: not done.
struct NarrowPrologue {
    BatchNormStatistics statistics;  ///< src is read as relu((src - mean) * inverse_deviation * scale + shift), in bf16
    BatchNormWeights weights;
};

struct NarrowEpilogue {
    const float* bias = nullptr;     ///< (O)
    Write write = Write::overwrite;  ///< accumulate: dst = summand + the result
    const void* summand = nullptr;   ///< of dst's form; null: dst
    /// narrow_sum_parts(dst.shape) parts of the sums over voxels of y - pivot and (y - pivot)^2, y as it is stored:
    /// (2, O, parts) f32. Null: none.
    float* sums = nullptr;
    const float* pivot = nullptr;  ///< (O), near the mean: what the sums are taken about; null: 0
};

/// Of batch_norm_statistics, from the sums of an epilogue.
struct NarrowSums {
    const float* sums = nullptr;
    const float* pivot = nullptr;
    std::int64_t parts = 0, count = 0;  ///< parts, and voxels in all
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// Whether a convolution is one of these.
    bool takes_narrow(const ConvolutionOptions& options);
    /// Throws std::invalid_argument naming the tensor where it is none of theirs, or of another size than `like`.
    void require_narrow(const View& view, const Shape& like, const char* what);
    /// Bytes that any pass needs beside its tensors.
    std::int64_t narrow_scratch_bytes(const Shape& src, std::int64_t outputs);
    std::int64_t narrow_sum_parts(const Shape& dst);

    /// Sums are f32, results rounded to bf16 once.
    void narrow_forward(Stream stream, View src, const NarrowWeights& weights, const NarrowPrologue& prologue,
                        const NarrowEpilogue& epilogue, View dst, void* scratch);
    void narrow_data_gradient(Stream stream, View diff_dst, const NarrowWeights& weights, View diff_src, void* scratch);
    /// diff_weights: (O, C, 3, 3, 3) f32; summed in an order that depends on the shape only.
    void narrow_weight_gradient(Stream stream, View src, const NarrowPrologue& prologue, View diff_dst,
                                float* diff_weights, void* scratch);
    /// Statistics from an epilogue's sums, as batch_norm_statistics computes them.
    void narrow_statistics(Stream stream, std::int64_t channels, const NarrowSums& sums, float epsilon,
                           BatchNormStatistics statistics, RunningStatistics running);

    /// The three as a convolution. Throws std::invalid_argument on what takes_narrow refuses.
    std::unique_ptr<Convolution> make_narrow_convolution(const ConvolutionOptions& options, ConvolutionPasses passes);)
