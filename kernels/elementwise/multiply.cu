#include "kernels/elementwise/multiply.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// Each element is moved once, 16 bytes a thread and access.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T, bool kAdd>
__global__ void __launch_bounds__(kThreads) multiply_kernel(const T* a, const T* b, std::int64_t count, T* y) {
    constexpr int W = kPackWidth<T>;
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float product[W], factor[W], sum[W];
        load_pack<W>(a + i * W, product);
        load_pack<W>(b + i * W, factor);
        if constexpr (kAdd) load_pack<W>(y + i * W, sum);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            product[k] *= factor[k];
            if constexpr (kAdd) product[k] += sum[k];
        }
        store_pack<W>(y + i * W, product);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) {
        const float product = to_f32(a[i]) * to_f32(b[i]);
        store(y[i], kAdd ? to_f32(y[i]) + product : product);
    }
}

}  // namespace

void multiply(Stream stream, View a, View b, View y, Write write) {
    require_same_form(a, b, "multiply");
    require_same_form(a, y, "multiply");
    const std::int64_t count = elements_of(y);
    with_real(y.type, [&](auto real) {
        using T = decltype(real);
        const LaunchShape shape{blocks_for((count + kPackWidth<T> - 1) / kPackWidth<T>, kThreads), kThreads};
        launch(write == Write::accumulate ? multiply_kernel<T, true> : multiply_kernel<T, false>, shape, stream,
               a.as<const T>(), b.as<const T>(), count, y.as<T>());
    });
}

}  // namespace iwseg::IWSEG_BACKEND
