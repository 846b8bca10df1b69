#include "kernels/elementwise/prelu.h"

#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"

// Each element is moved once, 16 bytes a thread and access; the gradient of the slopes is summed on the way.
namespace iwseg::IWSEG_BACKEND {
namespace {

template <class T, int W>
__global__ void __launch_bounds__(kTableThreads) prelu_kernel(const T* x, Table table, const float* slopes, T* y) {
    const Position position = position_of<W>(table);
    x += blockIdx.z * table.next;
    y += blockIdx.z * table.next;
    float slope[W];
    each_channel<W>(position.column, table.channels, [&](int k, int channel) { slope[k] = slopes[channel]; });
    each_row(table, position, [&](std::int64_t at) {
        float values[W];
        load_pack<W>(x + at, values);
#pragma unroll
        for (int k = 0; k < W; ++k) values[k] = values[k] > 0 ? values[k] : slope[k] * values[k];
        store_pack<W>(y + at, values);
    });
}

/// diff_x: none, where its gradient is not wanted. One block a multiprocessor is asked for, as the compiler else spills
/// a register or two, of some architectures, to have one block more.
template <class T, int W>
__global__ void __launch_bounds__(kTableThreads, 1)
    prelu_gradient_kernel(const T* x, const T* diff_y, Table table, const float* slopes, T* diff_x, bool accumulate,
                          float* diff_slopes, BlockSums blocks) {
    const Position position = position_of<W>(table);
    const std::int64_t skipped = blockIdx.z * table.next;
    float slope[W], sum[W] = {};
    each_channel<W>(position.column, table.channels, [&](int k, int channel) { slope[k] = slopes[channel]; });
    each_row(table, position, [&](std::int64_t in_table) {
        const std::int64_t at = skipped + in_table;
        float values[W], gradient[W], before[W] = {};
        load_pack<W>(x + at, values);
        load_pack<W>(diff_y + at, gradient);
        if (accumulate) load_pack<W>(diff_x + at, before);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            const bool above = values[k] > 0;
            sum[k] += above ? 0.0f : values[k] * gradient[k];
            gradient[k] = before[k] + (above ? gradient[k] : slope[k] * gradient[k]);
        }
        if (diff_x) store_pack<W>(diff_x + at, gradient);
    });
    double of_thread[1][W];
#pragma unroll
    for (int k = 0; k < W; ++k) of_thread[0][k] = sum[k];
    finish_sums(table, position, of_thread, blocks,
                [&](int c, const double(&all)[1]) { diff_slopes[c] = static_cast<float>(all[0]); });
}

}  // namespace

void prelu(Stream stream, View x, const float* slopes, std::int64_t count, View y) {
    require_same_form(x, y, "prelu");
    const View seen = by_slope(x, count, "prelu");
    const Tables tables(seen.shape, seen.layout, "prelu");
    with_table(seen, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        LaunchShape shape = plain_grid(table);
        shape.grid.z = static_cast<unsigned>(tables.samples);
        for (std::int64_t c = 0; c < tables.groups; ++c)
            launch(prelu_kernel<T, width>, shape, stream, x.as<const T>() + c * tables.elements, table, slopes + c,
                   y.as<T>() + c * tables.elements);
    });
}

std::int64_t prelu_scratch_bytes(const Shape& shape, Layout layout, std::int64_t count) {
    const View seen = by_slope({nullptr, shape, Type::f32, layout}, count, "prelu_scratch_bytes");
    return block_sums_bytes(Tables(seen.shape, seen.layout, "prelu_scratch_bytes"), 1);
}

void prelu_backward(Stream stream, View x, View diff_y, const float* slopes, std::int64_t count, View diff_x,
                    Write write, float* diff_slopes, void* scratch) {
    require_same_form(x, diff_y, "prelu_backward");
    if (diff_x.data) require_same_form(x, diff_x, "prelu_backward");
    const bool accumulate = diff_x.data && write == Write::accumulate;
    const View seen = by_slope(x, count, "prelu_backward");
    const Tables tables(seen.shape, seen.layout, "prelu_backward");
    const BlockSums blocks{static_cast<double*>(scratch), counters_of(stream)};
    with_table(seen, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        for (std::int64_t c = 0; c < tables.groups; ++c) {
            const std::int64_t at = c * tables.elements;
            launch(prelu_gradient_kernel<T, width>, sum_grid(tables, table), stream, x.as<const T>() + at,
                   diff_y.as<const T>() + at, table, slopes + c, diff_x.data ? diff_x.as<T>() + at : nullptr,
                   accumulate, diff_slopes + c, blocks);
        }
    });
}

}  // namespace iwseg::IWSEG_BACKEND
