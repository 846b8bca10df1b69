#include "kernels/elementwise.h"

#include <algorithm>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pack.cuh"
#include "kernels/reduce.cuh"

// add and copy move each number once, 16 bytes a thread. channel_sum takes two launches: blocks sum fixed runs of rows,
// then one block a channel joins their sums in order.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

/// Numbers a thread moves at once. The narrower type decides: both accesses are aligned, one of them to 16 bytes.
template <class From, class To>
constexpr int kCopyWidth = sizeof(From) < sizeof(To) ? kPackWidth<From> : kPackWidth<To>;

template <class From, class To, bool kAdd>
__global__ void copy_kernel(const From* from, std::int64_t numbers, To* to) {
    constexpr int W = kCopyWidth<From, To>;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x, packs = numbers / W;
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
    for (std::int64_t i = packs * W + first; i < numbers; i += step)
        store(to[i], kAdd ? to_f32(to[i]) + to_f32(from[i]) : to_f32(from[i]));
}

template <class From, class To, bool kAdd>
void launch_copy(Stream stream, View from, View to) {
    const std::int64_t numbers = numbers_of(to);
    constexpr int kWidth = kCopyWidth<From, To>;
    const LaunchShape shape{blocks_for((numbers + kWidth - 1) / kWidth, kThreads), kThreads};
    launch(copy_kernel<From, To, kAdd>, shape, stream, from.as<const From>(), numbers, to.as<To>());
}

// ----------------------------------------------------------------------------------------------------------------------

/// Blocks that sum a tensor: fixed, so that sums do not depend on the card.
constexpr int kSumBlocks = 512;

/// partial[block][channel]: sums over the block's rows, every kSumBlocks-th group of them.
template <class T>
__global__ void sum_rows_kernel(const T* x, std::int64_t rows, int channels, double* partial) {
    // A thread keeps to one channel, so that the row's numbers are read side by side.
    SHARED(double, sums, kThreads);
    for (int first = 0; first < channels; first += kThreads) {
        const int here = min(channels - first, kThreads), rows_at_once = kThreads / here;
        const int channel = static_cast<int>(threadIdx.x) % here, row = static_cast<int>(threadIdx.x) / here;
        double sum = 0;
        if (row < rows_at_once)
            for (std::int64_t r = std::int64_t{blockIdx.x} * rows_at_once + row; r < rows; r += std::int64_t{kSumBlocks} * rows_at_once)
                sum += to_f32(x[r * channels + first + channel]);
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (row == 0) {
            for (int r = 1; r < rows_at_once; ++r) sum += sums[r * here + channel];
            partial[std::int64_t{blockIdx.x} * channels + first + channel] = sum;
        }
        __syncthreads();
    }
}

__global__ void join_sums_kernel(const double* partial, int channels, float* sums) {
    const int channel = static_cast<int>(blockIdx.x);
    double sum = 0;
    for (int b = static_cast<int>(threadIdx.x); b < kSumBlocks; b += kThreads) sum += partial[b * channels + channel];
    sum = block_sum<kThreads>(sum);
    if (threadIdx.x == 0) sums[channel] = static_cast<float>(sum);
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
        with_real(to.type, [&](auto real_to) {
            launch_copy<decltype(real_from), decltype(real_to), false>(stream, from, to);
        });
    });
}

std::int64_t channel_sum_scratch_bytes(const Shape& shape, Layout) {
    return kSumBlocks * shape.c * static_cast<std::int64_t>(sizeof(double));
}

void channel_sum(Stream stream, View x, float* sums, void* scratch) {
    if (x.layout != Layout::ndhwc && x.shape.c != 1)
        throw std::invalid_argument("channel_sum: expected channels innermost (ndhwc)");
    auto* partial = static_cast<double*>(scratch);
    const auto channels = static_cast<int>(x.shape.c);
    with_real(x.type, [&](auto real) {
        launch(sum_rows_kernel<decltype(real)>, {kSumBlocks, kThreads}, stream, x.as<const decltype(real)>(),
               x.shape.n * x.shape.voxels(), channels, partial);
    });
    launch(join_sums_kernel, {static_cast<unsigned>(channels), kThreads}, stream, partial, channels, sums);
}

}  // namespace iwseg::IWSEG_BACKEND
