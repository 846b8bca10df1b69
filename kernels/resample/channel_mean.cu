#include "kernels/resample/channel_mean.h"

#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/launch.h"

// One launch a sample (and channel, where these are plain), which reads each element once.
namespace iwseg::IWSEG_BACKEND {
namespace {

// The bound of registers is far above what it takes; without one ptxas keeps so few that it spills.
template <class T, int W>
__global__ void __launch_bounds__(kTableThreads, 4)
    channel_mean_kernel(const T* x, Table table, double share, T* means, BlockSums blocks) {
    const Position position = position_of<W>(table);
    constexpr int kAhead = 4;
    Pack<T, W> ahead[kAhead];
    float sum[W] = {};
    each_rows<kAhead>(
        table, position, [&](int i, std::int64_t at) { ahead[i] = pack_at<W>(x + at); },
        [&](int i) {
#pragma unroll
            for (int k = 0; k < W; ++k) sum[k] += to_f32(ahead[i].values[k]);
        });
    double of_thread[1][W];
#pragma unroll
    for (int k = 0; k < W; ++k) of_thread[0][k] = sum[k];
    finish_sums(table, position, of_thread, blocks,
                [&](int c, const double(&all)[1]) { store(means[c], static_cast<float>(share * all[0])); });
}

/// A tensor's samples are summed one by one.
Shape one_sample(Shape shape) {
    shape.n = 1;
    return shape;
}

}  // namespace

std::int64_t channel_mean_scratch_bytes(const Shape& shape, Layout layout) {
    return block_sums_bytes(Tables(one_sample(shape), layout, "channel_mean_scratch_bytes"), 1);
}

void channel_mean(Stream stream, View x, View y, void* scratch) {
    require_means(x, y);
    const Tables tables(one_sample(x.shape), x.layout, "channel_mean");
    const BlockSums blocks{static_cast<double*>(scratch), counters_of(stream)};
    const double share = 1.0 / static_cast<double>(x.shape.voxels());
    with_table(x, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        for (std::int64_t part = 0; part < x.shape.n * tables.groups; ++part)
            launch(channel_mean_kernel<T, width>, sum_grid(tables, table), stream,
                   x.as<const T>() + part * tables.elements, table, share, y.as<T>() + part * tables.channels, blocks);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
