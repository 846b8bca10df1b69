#include "kernels/elementwise/sgd.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"

// All parameters in one launch: reads gradient, momentum and value and writes the last two, 20 bytes a parameter, 16
// bytes a thread at a time.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

struct Update {
    float rate, momentum, weight_decay, of_gradient, of_velocity;  ///< the last two: the step's shares

    __device__ __forceinline__ void operator()(float gradient, float& velocity, float& value) const {
        const float g = gradient + weight_decay * value;
        velocity = momentum * velocity + g;
        value -= rate * (of_gradient * g + of_velocity * velocity);
    }
};

template <int W>
__global__ void __launch_bounds__(kThreads)
    sgd_kernel(SgdOptions options, const float* learning_rate, std::int64_t count, const float* gradient,
               float* momentum, float* value) {
    // Plain or Nesterov as one formula.
    const Update update{*learning_rate, options.momentum, options.weight_decay, options.nesterov ? 1.0f : 0.0f,
                        options.nesterov ? options.momentum : 1.0f};
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads, packs = count / W;
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    for (std::int64_t i = first; i < packs; i += step) {
        float g[W], m[W], v[W];
        load_pack<W>(gradient + i * W, g);
        load_pack<W>(momentum + i * W, m);
        load_pack<W>(value + i * W, v);
#pragma unroll
        for (int k = 0; k < W; ++k) update(g[k], m[k], v[k]);
        store_pack<W>(momentum + i * W, m);
        store_pack<W>(value + i * W, v);
    }
    for (std::int64_t i = packs * W + first; i < count; i += step) update(gradient[i], momentum[i], value[i]);
}

// ----------------------------------------------------------------------------------------------------------------------

bool is_aligned(const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

}  // namespace

void sgd_update(Stream stream, const SgdOptions& options, const float* learning_rate, std::int64_t count,
                const float* gradient, float* momentum, float* value) {
    const bool aligned = is_aligned(gradient) && is_aligned(momentum) && is_aligned(value);
    const LaunchShape shape{blocks_for((count + 3) / 4, kThreads), kThreads};
    launch(aligned ? sgd_kernel<kPackWidth<float>> : sgd_kernel<1>, shape, stream, options, learning_rate, count,
           gradient, momentum, value);
}

}  // namespace iwseg::IWSEG_BACKEND
