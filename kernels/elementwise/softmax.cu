#include "kernels/elementwise/softmax.h"

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"
#include "kernels/loss/exp_log.h"

// A thread has all channels of a voxel, or of as many plain voxels as fill 16 bytes, and reads them again from the
// cache rather than keep them: their largest, the sum, the result. Channels are few where a network ends with a
// softmax.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 128;

/// Where a thread's packs lie: the first, how far it is to the next, and how many.
struct Packs {
    std::int64_t first, step;
    int count;
};

/// Threads of a sample (blocks y): W plain voxels each, or one whose channels lie side by side.
struct Voxels {
    std::int64_t voxels, threads;
    int channels;
    bool plain;
};

template <int W>
__device__ __forceinline__ Packs packs_of(const Voxels& v, std::int64_t thread) {
    const std::int64_t sample = std::int64_t{blockIdx.y} * v.voxels * v.channels;
    if (v.plain) return {sample + thread * W, v.voxels, v.channels};
    return {sample + thread * v.channels, W, v.channels / W};
}

/// Joins what the lanes of a pack have, where they are channels of one voxel.
template <int W, class Join>
__device__ __forceinline__ void join_lanes(bool plain, float (&lanes)[W], Join&& join) {
    if (plain) return;
#pragma unroll
    for (int k = 1; k < W; ++k) lanes[0] = join(lanes[0], lanes[k]);
#pragma unroll
    for (int k = 1; k < W; ++k) lanes[k] = lanes[0];
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) softmax_kernel(const T* x, Voxels voxels, T* y) {
    const std::int64_t thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (thread >= voxels.threads) return;
    const Packs packs = packs_of<W>(voxels, thread);
    const auto larger = [](float a, float b) { return b > a ? b : a; };
    float most[W], sum[W] = {}, value[W];
#pragma unroll
    for (int k = 0; k < W; ++k) most[k] = -INFINITY;
    for (int i = 0; i < packs.count; ++i) {
        load_pack<W>(x + packs.first + i * packs.step, value);
#pragma unroll
        for (int k = 0; k < W; ++k) most[k] = larger(most[k], value[k]);
    }
    join_lanes<W>(voxels.plain, most, larger);
    for (int i = 0; i < packs.count; ++i) {
        load_pack<W>(x + packs.first + i * packs.step, value);
#pragma unroll
        for (int k = 0; k < W; ++k) sum[k] += exp_nonpositive(value[k] - most[k]);
    }
    join_lanes<W>(voxels.plain, sum, [](float a, float b) { return a + b; });
#pragma unroll
    for (int k = 0; k < W; ++k) sum[k] = 1.0f / sum[k];
    for (int i = 0; i < packs.count; ++i) {
        load_pack<W>(x + packs.first + i * packs.step, value);
#pragma unroll
        for (int k = 0; k < W; ++k) value[k] = exp_nonpositive(value[k] - most[k]) * sum[k];
        store_pack<W>(y + packs.first + i * packs.step, value);
    }
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads)
    softmax_gradient_kernel(const T* y, const T* diff_y, Voxels voxels, bool accumulate, T* diff_x) {
    const std::int64_t thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (thread >= voxels.threads) return;
    const Packs packs = packs_of<W>(voxels, thread);
    float sum[W] = {}, value[W], gradient[W];
    for (int i = 0; i < packs.count; ++i) {
        load_pack<W>(y + packs.first + i * packs.step, value);
        load_pack<W>(diff_y + packs.first + i * packs.step, gradient);
#pragma unroll
        for (int k = 0; k < W; ++k) sum[k] += value[k] * gradient[k];
    }
    join_lanes<W>(voxels.plain, sum, [](float a, float b) { return a + b; });
    for (int i = 0; i < packs.count; ++i) {
        const std::int64_t at = packs.first + i * packs.step;
        load_pack<W>(y + at, value);
        load_pack<W>(diff_y + at, gradient);
        float before[W] = {};
        if (accumulate) load_pack<W>(diff_x + at, before);
#pragma unroll
        for (int k = 0; k < W; ++k) before[k] += value[k] * (gradient[k] - sum[k]);
        store_pack<W>(diff_x + at, before);
    }
}

/// Calls body(T{}, width, voxels, shape of the launch).
template <class Body>
void with_voxels(const View& x, const char* operation, Body&& body) {
    innermost(x, operation);  // throws on other layouts
    const bool plain = x.layout == Layout::ncdhw;
    with_real(x.type, [&](auto real) {
        with_pack<decltype(real)>(plain ? x.shape.voxels() : x.shape.c, [&](auto width) {
            const std::int64_t threads = plain ? x.shape.voxels() / width : x.shape.voxels();
            const std::int64_t blocks = (threads + kThreads - 1) / kThreads;
            if (blocks > 0x7FFFFFFF || x.shape.n > 0xFFFF)
                throw std::invalid_argument(std::string(operation) + ": a tensor of more voxels than a launch takes");
            body(real, width, Voxels{x.shape.voxels(), threads, static_cast<int>(x.shape.c), plain},
                 LaunchShape{{static_cast<unsigned>(blocks), static_cast<unsigned>(x.shape.n)}, kThreads});
        });
    });
}

}  // namespace

void softmax(Stream stream, View x, View y) {
    require_same_form(x, y, "softmax");
    with_voxels(x, "softmax", [&](auto real, auto width, const Voxels& voxels, const LaunchShape& shape) {
        using T = decltype(real);
        launch(softmax_kernel<T, width>, shape, stream, x.as<const T>(), voxels, y.as<T>());
    });
}

void softmax_backward(Stream stream, View y, View diff_y, View diff_x, Write write) {
    require_same_form(y, diff_y, "softmax_backward");
    require_same_form(y, diff_x, "softmax_backward");
    with_voxels(y, "softmax_backward", [&](auto real, auto width, const Voxels& voxels, const LaunchShape& shape) {
        using T = decltype(real);
        launch(softmax_gradient_kernel<T, width>, shape, stream, y.as<const T>(), diff_y.as<const T>(), voxels,
               write == Write::accumulate, diff_x.as<T>());
    });
}

}  // namespace iwseg::IWSEG_BACKEND
