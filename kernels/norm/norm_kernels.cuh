#pragma once

#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/norm/batch_norm_moments.cuh"

// What batch normalisation and group normalisation, of which instance normalisation is a case, compute of a table of
// channels: sums, the normalised values and their gradient. They differ in which sums are joined, those of a channel
// over all samples or those of each sample, and in what is made of them.
//
// Statistics read x once. A thread sums x - p and (x - p)^2 over at most 64 rows in f32, p its first row. As p is one
// of the elements summed, (p - mean)^2 is at most their summed squares about the mean: however large the mean, 64
// elements cancel two digits at worst. Threads are then moved, in double, to one pivot a channel, the tensor's first
// voxel, and from there on all sums are plain. The last block to end makes statistics of them: one launch.
//
// Backward reads x and diff_y twice, in two launches: sums of g and g (x - mean), g being diff_y times the
// activation's slope, of which the last block makes the gradients of scale and shift, then
// diff_x = scale g + factor (x - mean) + offset. The mask is recomputed by the expression that apply computes.
namespace iwseg::IWSEG_BACKEND {
namespace {

// A thread of the sums holds 2 W of them, so fewer threads are resident than where elements only pass through: each has
// several packs under way instead. 4 blocks of 256 threads with 4 packs are 64 KB an SM.
constexpr int kResidentBlocks = 4;           ///< on an SM, at least; one less for sums over two tensors, or of samples
constexpr int kAheadOne = 4, kAheadTwo = 2;  ///< packs under way of one tensor; of each of two

// ---- statistics
// ------------------------------------------------------------------------------------------------------

/// Where the channels of a block have their statistics and weights: in one place for all samples or, for each table, as
/// many places further.
template <Joined kJoined>
struct Places {
    std::int64_t first = 0;  ///< of the launch's first table
    int channels = 0;        ///< of the tensor, in a sample

    __device__ __forceinline__ std::int64_t statistics(const Table& table, int channel) const {
        if constexpr (kJoined == Joined::all_tables) return channel;
        return first + std::int64_t{blockIdx.z} * table.channels + channel;
    }
    __device__ __forceinline__ std::int64_t weights(const Table& table, int channel) const {
        if constexpr (kJoined == Joined::all_tables) return channel;
        return statistics(table, channel) % channels;
    }
};

/// x: the first sample's table, whose first row is the channels' pivots. Where tables are not joined it is 0: in double
/// that does as well, a sample's NaN stays its own, and no register holds where its table begins.
/// Use::finish(place of a channel's statistics, pivot, sum, sum of squares) is called once for each.
template <class T, int W, Joined kJoined, class Use>
__global__ void __launch_bounds__(kTableThreads, kResidentBlocks - (kJoined == Joined::each_table))
    moments_kernel(const T* x, Table table, Places<kJoined> places, Use use, BlockSums blocks) {
    const Position position = position_of<W>(table);
    const T* const given = x;
    const auto origin = [&](int channel) {
        return kJoined == Joined::each_table ? 0.0 : static_cast<double>(to_f32(given[channel]));
    };
    x += blockIdx.z * table.next;
    float pivot[W] = {}, sum[W] = {}, square[W] = {};
    const std::int64_t first = std::int64_t{blockIdx.x} * table.rows_at_once + position.row;
    if (position.taken && first < table.rows) load_pack<W>(x + first * table.columns + position.column, pivot);
    Pack<T, W> ahead[kAheadOne];
    const auto load = [&](int i, std::int64_t at) { ahead[i] = pack_at<W>(x + at); };
    each_rows<kAheadOne>(table, position, load, [&](int i) {
#pragma unroll
        for (int k = 0; k < W; ++k) {
            const float away = to_f32(ahead[i].values[k]) - pivot[k];
            sum[k] += away;
            square[k] += away * away;
        }
    });
    const std::int64_t count = rows_of(table, position);
    double sums[2][W] = {};
    if (count > 0)
        each_channel<W>(position.column, table.channels, [&](int k, int channel) {
            const double gap = static_cast<double>(pivot[k]) - origin(channel);
            sums[0][k] = sum[k] + static_cast<double>(count) * gap;
            sums[1][k] = square[k] + gap * (2.0 * sum[k] + static_cast<double>(count) * gap);
        });
    finish_sums<kJoined>(table, position, sums, blocks, [&](int c, const double(&all)[2]) {
        use.finish(places.statistics(table, c), origin(c), all[0], all[1]);
    });
}

// ---- apply and backward
// ----------------------------------------------------------------------------------------------

/// The normalisation of a thread's columns as x * scale + shift.
template <int W>
struct Affine {
    float scale[W], shift[W];

    __device__ __forceinline__ void set(int k, std::int64_t of_weights, std::int64_t of_statistics,
                                        const BatchNormStatistics& s, const BatchNormWeights& w) {
        scale[k] = w.scale[of_weights] * s.inverse_deviation[of_statistics];
        shift[k] = w.shift[of_weights] - s.mean[of_statistics] * scale[k];
    }
    __device__ __forceinline__ float of(int k, float x) const { return x * scale[k] + shift[k]; }
};

template <class T, int W, Joined kJoined>
__global__ void __launch_bounds__(kTableThreads)
    apply_kernel(const T* x, Table table, Places<kJoined> places, BatchNormStatistics statistics,
                 BatchNormWeights weights, NormActivation activation, T* y) {
    const Position position = position_of<W>(table);
    x += blockIdx.z * table.next;
    y += blockIdx.z * table.next;
    Affine<W> affine;
    each_channel<W>(position.column, table.channels, [&](int k, int c) {
        affine.set(k, places.weights(table, c), places.statistics(table, c), statistics, weights);
    });
    each_row(table, position, [&](std::int64_t at) {
        float value[W];
        load_pack<W>(x + at, value);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            value[k] = activation(affine.of(k, value[k]));
        }
        store_pack<W>(y + at, value);
    });
}

/// Use::finish(place of a channel's statistics, sum of g, sum of g times what was normalised) is called once for each.
template <class T, int W, Joined kJoined, class Use>
__global__ void __launch_bounds__(kTableThreads, kResidentBlocks - 1)
    gradient_sums_kernel(const T* x, const T* diff_y, Table table, Places<kJoined> places,
                         BatchNormStatistics statistics, BatchNormWeights weights, NormActivation activation, Use use,
                         BlockSums blocks) {
    const Position position = position_of<W>(table);
    x += blockIdx.z * table.next;
    diff_y += blockIdx.z * table.next;
    Affine<W> affine;
    float mean[W], sum[W] = {}, product[W] = {};
    each_channel<W>(position.column, table.channels, [&](int k, int c) {
        const std::int64_t at = places.statistics(table, c);
        affine.set(k, places.weights(table, c), at, statistics, weights);
        mean[k] = statistics.mean[at];
    });
    Pack<T, W> ahead[kAheadTwo], gradient[kAheadTwo];
    const auto load = [&](int i, std::int64_t at) {
        ahead[i] = pack_at<W>(x + at);
        gradient[i] = pack_at<W>(diff_y + at);
    };
    each_rows<kAheadTwo>(table, position, load, [&](int i) {
#pragma unroll
        for (int k = 0; k < W; ++k) {
            const float value = to_f32(ahead[i].values[k]);
            const float given = to_f32(gradient[i].values[k]);
            const float g = affine.of(k, value) > 0.0f ? given : activation.below(given);
            sum[k] += g;
            product[k] += g * (value - mean[k]);
        }
    });
    double sums[2][W];
#pragma unroll
    for (int k = 0; k < W; ++k) sums[0][k] = sum[k], sums[1][k] = product[k];
    finish_sums<kJoined>(table, position, sums, blocks, [&](int c, const double(&all)[2]) {
        const std::int64_t at = places.statistics(table, c);
        use.finish(at, all[0], all[1] * statistics.inverse_deviation[at]);
    });
}

/// Use::factor and Use::offset(place of a channel's statistics, what x is multiplied by, its inverse deviation) are the
/// gradient through variance and mean.
template <class T, int W, Joined kJoined, class Use>
__global__ void __launch_bounds__(kTableThreads)
    gradient_kernel(const T* x, const T* diff_y, Table table, Places<kJoined> places, BatchNormStatistics statistics,
                    BatchNormWeights weights, NormActivation activation, Use use, bool accumulate, T* diff_x) {
    const Position position = position_of<W>(table);
    x += blockIdx.z * table.next;
    diff_y += blockIdx.z * table.next;
    diff_x += blockIdx.z * table.next;
    Affine<W> affine;
    float mean[W], factor[W], offset[W];
    each_channel<W>(position.column, table.channels, [&](int k, int c) {
        const std::int64_t at = places.statistics(table, c);
        affine.set(k, places.weights(table, c), at, statistics, weights);
        mean[k] = statistics.mean[at];
        factor[k] = use.factor(at, affine.scale[k], statistics.inverse_deviation[at]);
        offset[k] = use.offset(at, affine.scale[k]);
    });
    each_row(table, position, [&](std::int64_t at) {
        float value[W], gradient[W], before[W] = {};
        load_pack<W>(x + at, value);
        load_pack<W>(diff_y + at, gradient);
        if (accumulate) load_pack<W>(diff_x + at, before);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            const float low = activation.below(gradient[k]);
            const float g = affine.of(k, value[k]) > 0.0f ? gradient[k] : low;
            gradient[k] = before[k] + (affine.scale[k] * g + (factor[k] * (value[k] - mean[k]) + offset[k]));
        }
        store_pack<W>(diff_x + at, gradient);
    });
}

}  // namespace
}  // namespace iwseg::IWSEG_BACKEND
