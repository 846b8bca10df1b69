#pragma once

#include <algorithm>
#include <array>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"

// One pass over flat f32 buffers of one length, 16 bytes a thread and buffer at a time.
namespace iwseg::IWSEG_BACKEND {

constexpr int kFlatThreads = 256;

template <int N>
struct FlatBuffers {
    float* at[N];
};

/// Change is a struct: kBuffers of which it changes those from kFirstWritten on; bool begin() reads what all elements
/// share and tells whether anything is to be done; operator() changes one element of each.
template <int W, class Change>
__global__ void __launch_bounds__(kFlatThreads)
    flat_kernel(Change change, std::int64_t count, FlatBuffers<Change::kBuffers> buffers) {
    constexpr int kAll = Change::kBuffers;
    if (!change.begin()) return;
    const std::int64_t step = std::int64_t{gridDim.x} * kFlatThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kFlatThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float x[kAll][W];
#pragma unroll
        for (int b = 0; b < kAll; ++b) load_pack<W>(buffers.at[b] + i * W, x[b]);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            float one[kAll];
#pragma unroll
            for (int b = 0; b < kAll; ++b) one[b] = x[b][k];
            change(one);
#pragma unroll
            for (int b = 0; b < kAll; ++b) x[b][k] = one[b];
        }
#pragma unroll
        for (int b = Change::kFirstWritten; b < kAll; ++b) store_pack<W>(buffers.at[b] + i * W, x[b]);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) {
        float one[kAll];
#pragma unroll
        for (int b = 0; b < kAll; ++b) one[b] = buffers.at[b][i];
        change(one);
#pragma unroll
        for (int b = Change::kFirstWritten; b < kAll; ++b) buffers.at[b][i] = one[b];
    }
}

// ----------------------------------------------------------------------------------------------------------------------

/// Queues the pass; buffers in the order of the change's elements.
template <class Change, class... Buffers>
void change_flat(Stream stream, const Change& change, std::int64_t count, Buffers*... buffers) {
    static_assert(sizeof...(Buffers) == Change::kBuffers);
    constexpr int kWidth = kPackWidth<float>;
    const FlatBuffers<Change::kBuffers> all{{const_cast<float*>(buffers)...}};
    const bool aligned = std::all_of(std::begin(all.at), std::end(all.at), [](const float* buffer) {
        return reinterpret_cast<std::uintptr_t>(buffer) % 16 == 0;
    });
    const LaunchShape shape{blocks_for((count + kWidth - 1) / kWidth, kFlatThreads), kFlatThreads};
    launch(aligned ? flat_kernel<kWidth, Change> : flat_kernel<1, Change>, shape, stream, change, count, all);
}

}  // namespace iwseg::IWSEG_BACKEND
