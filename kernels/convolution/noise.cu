#include "kernels/convolution/check.h"
#include "kernels/convolution/noise.h"
#include "kernels/cuda/launch.h"
#include "kernels/device/dispatch.h"

namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void noise_kernel(std::uint32_t operand, std::int64_t count, T* to) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step)
        store(to[i], noise_at(operand, i));
}

}  // namespace

void fill_with_noise(Stream stream, std::uint32_t operand, Type type, std::int64_t count, void* to) {
    with_real(type, [&](auto real) {
        using T = decltype(real);
        launch(noise_kernel<T>, {blocks_for(count, kThreads), kThreads}, stream, operand, count, static_cast<T*>(to));
    });
}

}  // namespace iwseg::IWSEG_BACKEND
