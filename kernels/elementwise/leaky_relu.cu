#include "kernels/elementwise/leaky_relu.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// Each element is moved once, 16 bytes a thread and access.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) apply_kernel(const T* x, std::int64_t count, float slope, T* y) {
    constexpr int W = kPackWidth<T>;
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float values[W];
        load_pack<W>(x + i * W, values);
#pragma unroll
        for (int k = 0; k < W; ++k) values[k] = values[k] > 0 ? values[k] : slope * values[k];
        store_pack<W>(y + i * W, values);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) {
        const float value = to_f32(x[i]);
        store(y[i], value > 0 ? value : slope * value);
    }
}

template <class T, bool kAdd>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(const T* y, const T* diff_y, std::int64_t count, float slope, T* diff_x) {
    constexpr int W = kPackWidth<T>;
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float values[W], gradient[W], sum[W];
        load_pack<W>(y + i * W, values);
        load_pack<W>(diff_y + i * W, gradient);
        if constexpr (kAdd) load_pack<W>(diff_x + i * W, sum);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            gradient[k] *= values[k] > 0 ? 1.0f : slope;
            if constexpr (kAdd) gradient[k] += sum[k];
        }
        store_pack<W>(diff_x + i * W, gradient);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) {
        const float gradient = to_f32(diff_y[i]) * (to_f32(y[i]) > 0 ? 1.0f : slope);
        store(diff_x[i], kAdd ? to_f32(diff_x[i]) + gradient : gradient);
    }
}

template <class T>
LaunchShape shape_for(std::int64_t count) {
    return {blocks_for((count + kPackWidth<T> - 1) / kPackWidth<T>, kThreads), kThreads};
}

}  // namespace

void leaky_relu(Stream stream, View x, float slope, View y) {
    require_same(x, y, "leaky_relu");
    if (x.type != y.type) throw std::invalid_argument("leaky_relu: tensors of different type");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        launch(apply_kernel<T>, shape_for<T>(numbers_of(x)), stream, x.as<const T>(), numbers_of(x), slope, y.as<T>());
    });
}

void leaky_relu_backward(Stream stream, View y, View diff_y, float slope, View diff_x, Write write) {
    require_same(y, diff_y, "leaky_relu");
    require_same(y, diff_x, "leaky_relu");
    if (y.type != diff_y.type || y.type != diff_x.type)
        throw std::invalid_argument("leaky_relu: tensors of different type");
    with_real(y.type, [&](auto real) {
        using T = decltype(real);
        const auto kernel = write == Write::accumulate ? gradient_kernel<T, true> : gradient_kernel<T, false>;
        launch(kernel, shape_for<T>(numbers_of(y)), stream, y.as<const T>(), diff_y.as<const T>(), numbers_of(y), slope,
               diff_x.as<T>());
    });
}

}  // namespace iwseg::IWSEG_BACKEND
