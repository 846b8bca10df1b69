#include "kernels/norm/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/norm/batch_norm_moments.cuh"

// Statistics read x once. A thread sums x - p and (x - p)^2 over at most 64 rows in f32, p its first row. As p is one
// of the numbers summed, (p - mean)^2 is at most their summed squares about the mean: however large the mean, 64
// numbers cancel two digits at worst. Threads are then moved, in double, to one pivot a channel, the tensor's first
// voxel, and from there on all sums are plain. The last block to end makes statistics of them: one launch.
//
// Backward reads x and diff_y twice, in two launches: sums of g and g (x - mean), g being diff_y times the
// activation's slope, of which the last block makes the gradients of scale and shift, then
// diff_x = scale g + factor (x - mean) + offset. The mask is recomputed by the expression that apply computes.
namespace iwseg::IWSEG_BACKEND {
namespace {

// A thread of the sums holds 2 W of them, so fewer threads are resident than where numbers only pass through: each has
// several packs under way instead. 4 blocks of 256 threads with 4 packs are 64 KB an SM.
[[maybe_unused]] constexpr int kResidentBlocks = 4;  ///< on an SM, at least; one less for sums over two tensors
constexpr int kAheadOne = 4, kAheadTwo = 2;          ///< packs under way of one tensor; of each of two

// ---- statistics -----------------------------------------------------------------------------------------------------

struct MomentsUse {
    double count;  ///< elements of a channel
    float epsilon;
    BatchNormStatistics statistics;
    RunningStatistics running;
};

/// x: the first sample's table, whose first row is the channels' pivots.
template <class T, int W>
__global__ void __launch_bounds__(kTableThreads, kResidentBlocks)
    moments_kernel(const T* x, Table table, MomentsUse use, BlockSums blocks) {
    const Position position = position_of<W>(table);
    const T* origin = x;
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
            const double gap = static_cast<double>(pivot[k]) - static_cast<double>(to_f32(origin[channel]));
            sums[0][k] = sum[k] + static_cast<double>(count) * gap;
            sums[1][k] = square[k] + gap * (2.0 * sum[k] + static_cast<double>(count) * gap);
        });
    finish_sums(table, position, sums, blocks, [&](int c, const double(&all)[2]) {
        Moments{static_cast<double>(to_f32(origin[c])), all[0], all[1], use.count}.finish(c, use.epsilon,
                                                                                          use.statistics, use.running);
    });
}

__global__ void running_statistics_kernel(int channels, float epsilon, RunningStatistics running,
                                          BatchNormStatistics statistics) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels) return;
    statistics.mean[c] = running.mean[c];
    statistics.inverse_deviation[c] =
        static_cast<float>(1.0 / sqrt(static_cast<double>(running.variance[c]) + epsilon));
}

// ---- apply and backward ---------------------------------------------------------------------------------------------

/// The normalisation of a thread's columns as x * scale + shift.
template <int W>
struct Affine {
    float scale[W], shift[W];

    __device__ __forceinline__ void set(int k, int channel, const BatchNormStatistics& s, const BatchNormWeights& w) {
        scale[k] = w.scale[channel] * s.inverse_deviation[channel];
        shift[k] = w.shift[channel] - s.mean[channel] * scale[k];
    }
    __device__ __forceinline__ float of(int k, float x) const { return x * scale[k] + shift[k]; }
};

template <class T, int W>
__global__ void __launch_bounds__(kTableThreads)
    apply_kernel(const T* x, Table table, BatchNormStatistics statistics, BatchNormWeights weights,
                 NormActivation activation, T* y) {
    const Position position = position_of<W>(table);
    Affine<W> affine;
    each_channel<W>(position.column, table.channels, [&](int k, int c) { affine.set(k, c, statistics, weights); });
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

template <class T, int W>
__global__ void __launch_bounds__(kTableThreads, kResidentBlocks - 1)
    gradient_sums_kernel(const T* x, const T* diff_y, Table table, BatchNormStatistics statistics,
                         BatchNormWeights weights, NormActivation activation, float* diff_scale, float* diff_shift,
                         BlockSums blocks) {
    const Position position = position_of<W>(table);
    x += blockIdx.z * table.next;
    diff_y += blockIdx.z * table.next;
    Affine<W> affine;
    float mean[W], sum[W] = {}, product[W] = {};
    each_channel<W>(position.column, table.channels, [&](int k, int c) {
        affine.set(k, c, statistics, weights);
        mean[k] = statistics.mean[c];
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
    finish_sums(table, position, sums, blocks, [&](int c, const double(&all)[2]) {
        diff_scale[c] = static_cast<float>(all[1] * statistics.inverse_deviation[c]);
        diff_shift[c] = static_cast<float>(all[0]);
    });
}

/// factor and offset, the gradient through variance and mean, follow from diff_scale and diff_shift. share: 1 / numbers
/// of a channel.
template <class T, int W>
__global__ void __launch_bounds__(kTableThreads)
    gradient_kernel(const T* x, const T* diff_y, Table table, BatchNormStatistics statistics, BatchNormWeights weights,
                    NormActivation activation, float share, const float* diff_scale, const float* diff_shift,
                    bool accumulate, T* diff_x) {
    const Position position = position_of<W>(table);
    Affine<W> affine;
    float mean[W], factor[W], offset[W];
    each_channel<W>(position.column, table.channels, [&](int k, int c) {
        affine.set(k, c, statistics, weights);
        mean[k] = statistics.mean[c];
        factor[k] = -affine.scale[k] * statistics.inverse_deviation[c] * (diff_scale[c] * share);
        offset[k] = -affine.scale[k] * (diff_shift[c] * share);
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

// ---- launchers ------------------------------------------------------------------------------------------------------

BatchNormStatistics from(const BatchNormStatistics& s, std::int64_t c) {
    return {s.mean + c, s.inverse_deviation + c};
}
BatchNormWeights from(const BatchNormWeights& w, std::int64_t c) {
    return {w.scale + c, w.shift + c};
}

}  // namespace

std::int64_t batch_norm_scratch_bytes(const Shape& shape, Layout layout) {
    return block_sums_bytes(Tables(shape, layout, "batch_norm_scratch_bytes"), 2);
}

void batch_norm_statistics(Stream stream, View x, float epsilon, BatchNormStatistics statistics,
                           RunningStatistics running, void* scratch) {
    const Tables tables(x.shape, x.layout, "batch_norm_statistics");
    const BlockSums blocks{static_cast<double*>(scratch), counters_of(stream)};
    MomentsUse use{static_cast<double>(x.shape.n * x.shape.voxels()), epsilon, statistics, running};
    with_table(x, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        for (std::int64_t c = 0; c < tables.groups; ++c) {
            use.statistics = from(statistics, c);
            if (running.mean) use.running.mean = running.mean + c, use.running.variance = running.variance + c;
            launch(moments_kernel<T, width>, sum_grid(tables, table), stream, x.as<const T>() + c * tables.numbers,
                   table, use, blocks);
        }
    });
}

void batch_norm_running_statistics(Stream stream, std::int64_t channels, float epsilon, RunningStatistics running,
                                   BatchNormStatistics statistics) {
    const LaunchShape grid{blocks_for(channels, kTableThreads), kTableThreads};
    launch(running_statistics_kernel, grid, stream, channels, epsilon, running, statistics);
}

void batch_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights,
                      NormActivation activation, View y) {
    require_same(x, y, "batch_norm_apply");
    const Tables tables(x.shape, x.layout, "batch_norm_apply");
    with_table(x, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        tables.each([&](std::int64_t c, std::int64_t, std::int64_t first) {
            launch(apply_kernel<T, width>, plain_grid(table), stream, x.as<const T>() + first, table,
                   from(statistics, c), from(weights, c), activation, y.as<T>() + first);
        });
    });
}

void batch_norm_backward(Stream stream, View x, View diff_y, BatchNormStatistics statistics, BatchNormWeights weights,
                         NormActivation activation, View diff_x, Write write, float* diff_scale, float* diff_shift,
                         void* scratch) {
    require_same(x, diff_y, "batch_norm_backward");
    require_same(x, diff_x, "batch_norm_backward");
    const Tables tables(x.shape, x.layout, "batch_norm_backward");
    const BlockSums blocks{static_cast<double*>(scratch), counters_of(stream)};
    const auto share = static_cast<float>(1.0 / static_cast<double>(x.shape.n * x.shape.voxels()));
    with_table(x, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        const T *data = x.as<const T>(), *gradient = diff_y.as<const T>();
        for (std::int64_t c = 0; c < tables.groups; ++c)
            launch(gradient_sums_kernel<T, width>, sum_grid(tables, table), stream, data + c * tables.numbers,
                   gradient + c * tables.numbers, table, from(statistics, c), from(weights, c), activation,
                   diff_scale + c, diff_shift + c, blocks);
        tables.each([&](std::int64_t c, std::int64_t, std::int64_t first) {
            launch(gradient_kernel<T, width>, plain_grid(table), stream, data + first, gradient + first, table,
                   from(statistics, c), from(weights, c), activation, share, diff_scale + c, diff_shift + c,
                   write == Write::accumulate, diff_x.as<T>() + first);
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
