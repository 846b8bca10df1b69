#include "kernels/elementwise/activation.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/device/dispatch.h"

// Each element is moved once, 16 bytes a thread and access. F: a function of kernels/activation_formulas.h.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T, class F>
__global__ void __launch_bounds__(kThreads) activate_kernel(const T* x, std::int64_t count, F function, T* y) {
    constexpr int W = kPackWidth<T>;
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float values[W];
        load_pack<W>(x + i * W, values);
#pragma unroll
        for (int k = 0; k < W; ++k) values[k] = function.value(values[k]);
        store_pack<W>(y + i * W, values);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) store(y[i], function.value(to_f32(x[i])));
}

template <class T, class F, bool kAdd>
__global__ void __launch_bounds__(kThreads)
    activate_gradient_kernel(const T* kept, const T* diff_y, std::int64_t count, F function, T* diff_x) {
    constexpr int W = kPackWidth<T>;
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float values[W], gradient[W], sum[W];
        load_pack<W>(kept + i * W, values);
        load_pack<W>(diff_y + i * W, gradient);
        if constexpr (kAdd) load_pack<W>(diff_x + i * W, sum);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            gradient[k] *= function.derivative(values[k]);
            if constexpr (kAdd) gradient[k] += sum[k];
        }
        store_pack<W>(diff_x + i * W, gradient);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) {
        const float gradient = to_f32(diff_y[i]) * function.derivative(to_f32(kept[i]));
        store(diff_x[i], kAdd ? to_f32(diff_x[i]) + gradient : gradient);
    }
}

template <class T>
LaunchShape shape_for(std::int64_t count) {
    return {blocks_for((count + kPackWidth<T> - 1) / kPackWidth<T>, kThreads), kThreads};
}

}  // namespace

void activate(Stream stream, View x, Activation function, View y) {
    require_same_form(x, y, "activate");
    const std::int64_t count = elements_of(x);
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_activation(function, [&](auto formula) {
            launch(activate_kernel<T, decltype(formula)>, shape_for<T>(count), stream, x.as<const T>(), count, formula,
                   y.as<T>());
        });
    });
}

void activate_backward(Stream stream, View kept, View diff_y, Activation function, View diff_x, Write write) {
    require_same_form(kept, diff_y, "activate_backward");
    require_same_form(kept, diff_x, "activate_backward");
    const std::int64_t count = elements_of(kept);
    with_real(kept.type, [&](auto real) {
        using T = decltype(real);
        with_activation(function, [&](auto formula) {
            using F = decltype(formula);
            const auto kernel = write == Write::accumulate ? activate_gradient_kernel<T, F, true>
                                                           : activate_gradient_kernel<T, F, false>;
            launch(kernel, shape_for<T>(count), stream, kept.as<const T>(), diff_y.as<const T>(), count, formula,
                   diff_x.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
