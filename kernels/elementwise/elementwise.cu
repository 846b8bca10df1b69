#include "kernels/elementwise/elementwise.h"

#include <algorithm>

#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// add and copy move each number once, 16 bytes a thread; channel_sum reads each once, in one launch.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

/// Numbers a thread moves at once. The narrower type decides: both accesses are aligned, one of them to 16 bytes.
template <class From, class To>
constexpr int kCopyWidth = sizeof(From) < sizeof(To) ? kPackWidth<From> : kPackWidth<To>;

template <class From, class To, bool kAdd>
__global__ void copy_kernel(const From* from, std::int64_t elements, To* to) {
    constexpr int W = kCopyWidth<From, To>;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x, packs = elements / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float values[W], sum[W];
        load_pack<W>(from + i * W, values);
        if constexpr (kAdd) {
            load_pack<W>(to + i * W, sum);
#pragma unroll
            for (int k = 0; k < W; ++k) values[k] += sum[k];
        }
        store_pack<W>(to + i * W, values);
    }
    for (std::int64_t i = packs * W + first; i < elements; i += step)
        store(to[i], kAdd ? to_f32(to[i]) + to_f32(from[i]) : to_f32(from[i]));
}

template <class From, class To, bool kAdd>
void launch_copy(Stream stream, View from, View to) {
    const std::int64_t elements = elements_of(to);
    constexpr int kWidth = kCopyWidth<From, To>;
    const LaunchShape shape{blocks_for((elements + kWidth - 1) / kWidth, kThreads), kThreads};
    launch(copy_kernel<From, To, kAdd>, shape, stream, from.as<const From>(), elements, to.as<To>());
}

// ----------------------------------------------------------------------------------------------------------------------

template <class T, int W>
__global__ void __launch_bounds__(kTableThreads)
    channel_sum_kernel(const T* x, Table table, float* sums, BlockSums blocks) {
    const Position position = position_of<W>(table);
    x += blockIdx.z * table.next;
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
                [&](int c, const double(&all)[1]) { sums[c] = static_cast<float>(all[0]); });
}

}  // namespace

void add(Stream stream, View from, View to) {
    require_same(from, to, "add");
    if (from.type != to.type) throw std::invalid_argument("add: tensors of different type");
    with_real(to.type, [&](auto real) { launch_copy<decltype(real), decltype(real), true>(stream, from, to); });
}

void copy(Stream stream, View from, View to) {
    require_same(from, to, "copy");
    with_real(from.type, [&](auto real_from) {
        with_real(to.type,
                  [&](auto real_to) { launch_copy<decltype(real_from), decltype(real_to), false>(stream, from, to); });
    });
}

std::int64_t channel_sum_scratch_bytes(const Shape& shape, Layout layout) {
    return block_sums_bytes(Tables(shape, layout, "channel_sum_scratch_bytes"), 1);
}

void channel_sum(Stream stream, View x, float* sums, void* scratch) {
    const Tables tables(x.shape, x.layout, "channel_sum");
    const BlockSums blocks{static_cast<double*>(scratch), counters_of(stream)};
    with_table(x, tables, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        for (std::int64_t c = 0; c < tables.groups; ++c)
            launch(channel_sum_kernel<T, width>, sum_grid(tables, table), stream, x.as<const T>() + c * tables.elements,
                   table, sums + c, blocks);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
