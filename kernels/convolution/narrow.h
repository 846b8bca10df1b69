#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

#include "kernels/convolution/convolution.h"
#include "kernels/norm/batch_norm.h"

// Convolutions of few channels by tensor cores: kernel 3, 8, 16 or 32 channels on either side, bf16 with channels
// innermost; sm_80 and up. Here a convolution moves about as much as it computes, and libraries, made for many
// channels, fetch each element from L2 once a tap and fill tiles of 32 filters.
namespace iwseg {

constexpr bool is_narrow(std::int64_t channels) {
    return channels == 8 || channels == 16 || channels == 32;
}

/// Whether a convolution is one of these. Elements of a sample are counted in 32 bits.
inline bool takes_narrow(const ConvolutionOptions& o) {
    const bool innermost = o.src_layout == Layout::ndhwc && o.dst_layout == Layout::ndhwc;
    const bool bf16 = o.src_type == Type::bf16 && o.dst_type == Type::bf16;
    return o.is_plain() && o.kernel == 3 && innermost && bf16 && is_narrow(o.src.c) && is_narrow(o.dst_channels) &&
           o.src.elements() > 0 &&
           o.src.voxels() * std::max(o.src.c, o.dst_channels) <= std::numeric_limits<int>::max();
}

/// Voxels of a result that are computed together.
struct NarrowTile {
    static constexpr int kDepth = 4, kHeight = 8, kWidth = 16;
};

inline std::int64_t narrow_tiles(const Shape& dst) {
    const auto along = [](std::int64_t size, int tile) { return (size + tile - 1) / tile; };
    return dst.n * along(dst.d, NarrowTile::kDepth) * along(dst.h, NarrowTile::kHeight) *
           along(dst.w, NarrowTile::kWidth);
}

/// Bytes of the sums that an epilogue leaves.
inline std::int64_t narrow_sums_bytes(const Shape& dst) {
    return 3 * dst.c * narrow_tiles(dst) * bytes_of(Type::f32);
}

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
    /// Of each tile and output, of y as it is stored, a pivot and the sums over voxels of y - pivot and (y - pivot)^2:
    /// (3, O, tiles) f32, narrow_sums_bytes(dst.shape) in all. Null: none.
    float* sums = nullptr;
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// Throws std::invalid_argument naming the tensor where it is none of theirs, or of another size than `like`.
    void require_narrow(const View& view, const Shape& like, const char* what);
    /// Bytes that any pass needs beside its tensors.
    std::int64_t narrow_scratch_bytes(const Shape& src, std::int64_t outputs);

    /// Sums are f32, results rounded to bf16 once.
    void narrow_forward(Stream stream, View src, const NarrowWeights& weights, const NarrowPrologue& prologue,
                        const NarrowEpilogue& epilogue, View dst, void* scratch);
    void narrow_data_gradient(Stream stream, View diff_dst, const NarrowWeights& weights, View diff_src, void* scratch);
    /// diff_weights: (O, C, 3, 3, 3) f32; summed in an order that depends on the shape only.
    void narrow_weight_gradient(Stream stream, View src, const NarrowPrologue& prologue, View diff_dst,
                                float* diff_weights, void* scratch);
    /// Statistics of dst from the sums that an epilogue left of it, as batch_norm_statistics computes them.
    void narrow_statistics(Stream stream, const Shape& dst, const float* sums, float epsilon,
                           BatchNormStatistics statistics, RunningStatistics running);

    /// The three as a convolution. Throws std::invalid_argument on what takes_narrow refuses.
    std::unique_ptr<Convolution> make_narrow_convolution(const ConvolutionOptions& options, ConvolutionPasses passes);)
