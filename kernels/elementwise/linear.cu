#include "kernels/elementwise/linear.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/dispatch.h"

// Weights are most of what is moved; threads side by side read them side by side. They lie where the parameters before
// them end, so that wider accesses are not aligned.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

/// Samples, features of the operand and of the result.
struct Sizes {
    int samples, inputs, outputs;
};

/// A warp has one element of the result.
template <class T>
__global__ void __launch_bounds__(kThreads)
    linear_kernel(const T* x, const float* weights, const float* bias, Sizes sizes, T* y) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    const std::int64_t place = std::int64_t{blockIdx.x} * kWarps + thread / 32;
    if (place >= std::int64_t{sizes.samples} * sizes.outputs) return;
    const int output = static_cast<int>(place % sizes.outputs);
    const T* from = x + place / sizes.outputs * sizes.inputs;
    float sum = 0;
    for (int i = lane; i < sizes.inputs; i += 32)
        sum += weights[std::int64_t{output} * sizes.inputs + i] * to_f32(from[i]);
    sum = warp_sum(sum);
    if (lane == 0) store(y[place], bias ? sum + bias[output] : sum);
}

/// A thread has one element of the operand's gradient.
template <class T>
__global__ void __launch_bounds__(kThreads)
    linear_data_kernel(const T* diff_y, const float* weights, Sizes sizes, bool accumulate, T* diff_x) {
    const std::int64_t place = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (place >= std::int64_t{sizes.samples} * sizes.inputs) return;
    const std::int64_t sample = place / sizes.inputs, input = place % sizes.inputs;
    float sum = accumulate ? to_f32(diff_x[place]) : 0.0f;
    for (int o = 0; o < sizes.outputs; ++o)
        sum += weights[std::int64_t{o} * sizes.inputs + input] * to_f32(diff_y[sample * sizes.outputs + o]);
    store(diff_x[place], sum);
}

/// A thread has one weight's gradient, and that of the first input the bias's.
template <class T>
__global__ void __launch_bounds__(kThreads)
    linear_weights_kernel(const T* x, const T* diff_y, Sizes sizes, float* diff_weights, float* diff_bias) {
    const std::int64_t place = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (place >= std::int64_t{sizes.outputs} * sizes.inputs) return;
    const std::int64_t output = place / sizes.inputs, input = place % sizes.inputs;
    float sum = 0, of_bias = 0;
    for (int n = 0; n < sizes.samples; ++n) {
        const float gradient = to_f32(diff_y[std::int64_t{n} * sizes.outputs + output]);
        sum += gradient * to_f32(x[std::int64_t{n} * sizes.inputs + input]);
        of_bias += gradient;
    }
    diff_weights[place] = sum;
    if (diff_bias && input == 0) diff_bias[output] = of_bias;
}

Sizes sizes_of(const View& x, const View& y) {
    require_vectors(x, y);
    return {static_cast<int>(x.shape.n), static_cast<int>(x.shape.c), static_cast<int>(y.shape.c)};
}

LaunchShape threads_for(std::int64_t count) {
    return {blocks_for(count, kThreads, 0x7FFFFFFF), kThreads};
}

}  // namespace

void linear(Stream stream, View x, const float* weights, const float* bias, View y) {
    const Sizes sizes = sizes_of(x, y);
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        launch(linear_kernel<T>, threads_for(y.shape.elements() * 32), stream, x.as<const T>(), weights, bias, sizes,
               y.as<T>());
    });
}

void linear_backward_data(Stream stream, View diff_y, const float* weights, View diff_x, Write write) {
    const Sizes sizes = sizes_of(diff_x, diff_y);
    with_real(diff_y.type, [&](auto real) {
        using T = decltype(real);
        launch(linear_data_kernel<T>, threads_for(diff_x.shape.elements()), stream, diff_y.as<const T>(), weights,
               sizes, write == Write::accumulate, diff_x.as<T>());
    });
}

void linear_backward_weights(Stream stream, View x, View diff_y, float* diff_weights, float* diff_bias) {
    const Sizes sizes = sizes_of(x, diff_y);
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        launch(linear_weights_kernel<T>, threads_for(x.shape.c * diff_y.shape.c), stream, x.as<const T>(),
               diff_y.as<const T>(), sizes, diff_weights, diff_bias);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
