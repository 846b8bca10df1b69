#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/norm/batch_norm.h"

// What batch and group normalisation compute of a chunk. Every pass runs over chunks of at most 64 KB. A chunk's sums
// are taken in f32 over 64 lanes of at most 512 elements each and joined in double in the order of the chunks: error
// about 1e-6 of the largest term, whatever the size, and the same bits on any number of threads.
namespace iwseg::cpu {
namespace {

/// Independent sums side by side: a multiple of every block, wide enough to hide the latency of an addition.
constexpr int kLanes = 64;
/// Results side by side, where nothing waits for the one before: a multiple of every block, and a whole vector.
constexpr int kStoredLanes = 16;

template <int B, class T>
IWSEG_VECTOR_CLONES void chunk_moments(const T* x, std::int64_t voxels, double* mean, double* squares) {
    const std::int64_t elements = voxels * B, whole = elements / kLanes * kLanes;
    float sum[kLanes] = {}, square[kLanes] = {};
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) sum[l] += to_f32(x[i + l]);
    for (std::int64_t i = whole; i < elements; ++i) sum[i - whole] += to_f32(x[i]);
    float centre[kLanes];
    for (int b = 0; b < B; ++b) {
        double total = 0;
        for (int l = b; l < kLanes; l += B) total += sum[l];
        mean[b] = total / static_cast<double>(voxels);
        for (int l = b; l < kLanes; l += B) centre[l] = static_cast<float>(mean[b]);
    }
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) {
            const float away = to_f32(x[i + l]) - centre[l];
            square[l] += away * away;
        }
    for (std::int64_t i = whole; i < elements; ++i) {
        const float away = to_f32(x[i]) - centre[i - whole];
        square[i - whole] += away * away;
    }
    for (int b = 0; b < B; ++b) {
        // What the rounded centre missed: sum (x - m)^2 = sum (x - c)^2 - n (m - c)^2.
        const double miss = mean[b] - static_cast<double>(centre[b]);
        double total = 0;
        for (int l = b; l < kLanes; l += B) total += square[l];
        squares[b] = total - static_cast<double>(voxels) * miss * miss;
    }
}

/// Calls of(element, lane), which computes y's element by a channel's factors, repeated over the lanes. Results of all
/// lanes are held beside the tensors before they are stored: y may be what they are computed of, and where it is, g++
/// makes no vector code of a loop that stores one by one.
template <int B, class T, class Of>
[[gnu::always_inline]] inline void store_by_lanes(std::int64_t voxels, T* y, Of&& of) {
    const std::int64_t elements = voxels * B, whole = elements / kStoredLanes * kStoredLanes;
    for (std::int64_t i = 0; i < whole; i += kStoredLanes) {
        float results[kStoredLanes];
        for (int l = 0; l < kStoredLanes; ++l) results[l] = of(i + l, l);
        for (int l = 0; l < kStoredLanes; ++l) store(y[i + l], results[l]);
    }
    if constexpr (B < kStoredLanes)
#pragma GCC unroll 1
        for (std::int64_t i = whole; i < elements; ++i) {
            asm volatile("");  // no vectors for so few: they were most of the code
            store(y[i], of(i, static_cast<int>(i - whole)));
        }
}

/// A block's factors, again and again over the lanes.
template <int B>
struct LaneFactors {
    float of[kLanes];

    explicit LaneFactors(const float* factors) {
        for (int l = 0; l < kLanes; ++l) of[l] = factors[l % B];
    }
};

template <int B, class T, bool kLeaky>
IWSEG_VECTOR_CLONES void apply_affine(const T* x, std::int64_t voxels, const float* scale, const float* shift,
                                      float slope, T* y) {
    const LaneFactors<B> scales(scale), shifts(shift);
    store_by_lanes<B>(voxels, y, [&](std::int64_t i, int l) {
        const float value = to_f32(x[i]) * scales.of[l] + shifts.of[l];
        // A NaN passes through, as in max(value, 0) it would not.
        return value < 0.0f ? (kLeaky ? slope * value : 0.0f) : value;
    });
}

/// Asks for the slope once: where each element asks, g++ makes no vector code of the loop.
template <int B, class T>
void apply_chunk(const T* x, std::int64_t voxels, const float* scale, const float* shift, float slope, T* y) {
    const auto apply = slope > 0.0f ? apply_affine<B, T, true> : apply_affine<B, T, false>;
    apply(x, voxels, scale, shift, slope, y);
}

/// Sums of g and g * xhat over a chunk, g = diff_y times the activation's slope.
template <int B, class T>
IWSEG_VECTOR_CLONES void chunk_gradient_sums(const T* x, const T* diff_y, std::int64_t voxels, const float* scale,
                                             const float* shift, const float* mean, float slope, double* sum,
                                             double* product) {
    const std::int64_t elements = voxels * B, whole = elements / kLanes * kLanes;
    const LaneFactors<B> scales(scale), shifts(shift), means(mean);
    float sums[kLanes] = {}, products[kLanes] = {};
    const auto add = [&](std::int64_t i, int l) {
        // Both are loaded whatever the ReLU let through, so that neither waits for the other.
        const float value = to_f32(x[i]), given = to_f32(diff_y[i]);
        const float low = slope > 0.0f ? slope * given : 0.0f;
        const float g = value * scales.of[l] + shifts.of[l] > 0.0f ? given : low;
        sums[l] += g;
        products[l] += g * (value - means.of[l]);
    };
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) add(i + l, l);
    for (std::int64_t i = whole; i < elements; ++i) add(i, static_cast<int>(i - whole));
    for (int b = 0; b < B; ++b) {
        sum[b] = product[b] = 0;
        for (int l = b; l < kLanes; l += B) sum[b] += sums[l], product[b] += products[l];
    }
}

/// diff_x = scale * g + factor * x + offset per channel; factor and offset carry the gradient through the statistics.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void chunk_gradient(const T* x, const T* diff_y, std::int64_t voxels, const float* scale,
                                        const float* shift, const float* factor, const float* offset, float slope,
                                        T* diff_x) {
    const LaneFactors<B> scales(scale), shifts(shift), factors(factor), offsets(offset);
    store_by_lanes<B>(voxels, diff_x, [&](std::int64_t i, int l) {
        const float value = to_f32(x[i]), given = to_f32(diff_y[i]);
        const float low = slope > 0.0f ? slope * given : 0.0f;
        const float g = value * scales.of[l] + shifts.of[l] > 0.0f ? given : low;
        const float d = scales.of[l] * g + (factors.of[l] * value + offsets.of[l]);
        return kAccumulate ? to_f32(diff_x[i]) + d : d;
    });
}

/// Runs body(row, block of channels, first voxel, voxels, chunk) over all chunks, in parallel.
template <class Body>
void over_chunks(Stream stream, const Blocks& blocks, Body&& body) {
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), size = chunk_voxels(blocks.block);
    parallel_for(stream, blocks.rows() * chunks, [&](std::int64_t i) {
        const std::int64_t row = i / chunks, first = i % chunks * size;
        body(row, row % blocks.blocks, first, std::min(size, blocks.voxels - first), i);
    });
}

/// The affine form of the normalisation for one block of channels; zeros for channels that only pad.
template <int B>
struct Affine {
    float scale[B] = {}, shift[B] = {}, mean[B] = {};

    /// first: of a sample's statistics; 0 where all samples have one's.
    Affine(std::int64_t block, std::int64_t channels, std::int64_t first, const BatchNormStatistics& s,
           const BatchNormWeights& w) {
        for (int b = 0; b < B; ++b) {
            const std::int64_t c = block * B + b;
            if (c >= channels) continue;
            mean[b] = s.mean[first + c];
            scale[b] = w.scale[c] * s.inverse_deviation[first + c];
            shift[b] = w.shift[c] - s.mean[first + c] * scale[b];
        }
    }
};

/// Mean and squares about it, joined part by part without the cancellation of E[x^2] - E[x]^2 (Chan's rule).
struct JoinedMoments {
    double mean = 0, square = 0, seen = 0;

    void add(double of_mean, double of_square, double count) {
        const double away = of_mean - mean;
        square += of_square + away * away * seen * count / (seen + count);
        seen += count;
        mean += away * count / seen;
    }
};

}  // namespace
}  // namespace iwseg::cpu
