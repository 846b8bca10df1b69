#include "kernels/norm/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/norm/norm_kernels.cuh"

// The kernels that normalisations share, a launch of each: a channel's sums are joined
// over all samples, and the last block to end makes statistics, or the gradients of scale and shift, of them.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr Joined kAll = Joined::all_tables;

struct BatchMoments {
    double count;  ///< elements of a channel
    float epsilon;
    BatchNormStatistics statistics;
    RunningStatistics running;

    __device__ __forceinline__ void finish(std::int64_t place, double pivot, double sum, double square) const {
        Moments{pivot, sum, square, count}.finish(static_cast<int>(place), epsilon, statistics, running);
    }
};

/// share: 1 / elements of a channel.
struct BatchGradients {
    float *diff_scale, *diff_shift;
    float share;

    __device__ __forceinline__ void finish(std::int64_t place, double sum, double product) const {
        diff_scale[place] = static_cast<float>(product);
        diff_shift[place] = static_cast<float>(sum);
    }
    __device__ __forceinline__ float factor(std::int64_t place, float scale, float inverse_deviation) const {
        return -scale * inverse_deviation * (diff_scale[place] * share);
    }
    __device__ __forceinline__ float offset(std::int64_t place, float scale) const {
        return -scale * (diff_shift[place] * share);
    }
};

__global__ void running_statistics_kernel(int channels, float epsilon, RunningStatistics running,
                                          BatchNormStatistics statistics) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels) return;
    statistics.mean[c] = running.mean[c];
    statistics.inverse_deviation[c] =
        static_cast<float>(1.0 / sqrt(static_cast<double>(running.variance[c]) + epsilon));
}

// ---- launchers
// -------------------------------------------------------------------------------------------------------

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
    BatchMoments use{static_cast<double>(x.shape.n * x.shape.voxels()), epsilon, statistics, running};
    with_table(x, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        for (std::int64_t c = 0; c < tables.groups; ++c) {
            use.statistics = from(statistics, c);
            if (running.mean) use.running.mean = running.mean + c, use.running.variance = running.variance + c;
            launch(moments_kernel<T, width, kAll, BatchMoments>, sum_grid(tables, table), stream,
                   x.as<const T>() + c * tables.elements, table, Places<kAll>(), use, blocks);
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
            launch(apply_kernel<T, width, kAll>, plain_grid(table), stream, x.as<const T>() + first, table,
                   Places<kAll>(), from(statistics, c), from(weights, c), activation, y.as<T>() + first);
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
            launch(gradient_sums_kernel<T, width, kAll, BatchGradients>, sum_grid(tables, table), stream,
                   data + c * tables.elements, gradient + c * tables.elements, table, Places<kAll>(),
                   from(statistics, c), from(weights, c), activation,
                   BatchGradients{diff_scale + c, diff_shift + c, share}, blocks);
        tables.each([&](std::int64_t c, std::int64_t, std::int64_t first) {
            launch(gradient_kernel<T, width, kAll, BatchGradients>, plain_grid(table), stream, data + first,
                   gradient + first, table, Places<kAll>(), from(statistics, c), from(weights, c), activation,
                   BatchGradients{diff_scale + c, diff_shift + c, share}, write == Write::accumulate,
                   diff_x.as<T>() + first);
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
