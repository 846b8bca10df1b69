#include "kernels/device/backend.h"

#include <string>

#include "base/error.h"
#include "kernels/cuda/launch.h"

namespace iwseg::cuda {
namespace {

constexpr int kOldestCapability = 75;  ///< the oldest card this is written for

/// Never launched: asked whether the program has code for a card.
__global__ void probe_kernel() {}

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// The runtime's words for a failure, which is not to be reported again by the next call.
std::string words(cudaError_t status) {
    cudaGetLastError();
    return std::string(" (") + cudaGetErrorString(status) + ")";
}

}  // namespace

int device_count() {
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();
    return 0;
}

std::string why_unavailable() {
    int driver = 0, runtime = 0, count = 0;
    if (const cudaError_t status = cudaRuntimeGetVersion(&runtime))
        return "CUDA's runtime does not answer" + words(status);
    if (const cudaError_t status = cudaDriverGetVersion(&driver); status || driver == 0) {
        if (status) words(status);
        return "this machine has no NVIDIA driver";
    }
    if (driver / 1000 < runtime / 1000)
        return "the NVIDIA driver supports CUDA " + version_text(driver) + ", but this build needs " +
               version_text(runtime);
    if (const cudaError_t status = cudaGetDeviceCount(&count); status || count == 0)
        return "there is no usable GPU" + words(status);
    cudaDeviceProp card{};
    if (const cudaError_t status = cudaGetDeviceProperties(&card, 0))
        return "the GPU's properties cannot be read" + words(status);
    const std::string name = card.name, capability = std::to_string(card.major) + "." + std::to_string(card.minor);
    if (card.major * 10 + card.minor < kOldestCapability)
        return name + " is of compute capability " + capability + ", but 7.5 is the oldest supported";
    cudaFuncAttributes attributes{};
    const cudaError_t status = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&probe_kernel));
    if (status == cudaSuccess) return "";
    const std::string failure = words(status);
    if (status == cudaErrorNoKernelImageForDevice)
        return "this build has no code for " + name + ", which is of compute capability " + capability;
    return name + " cannot be used" + failure;
}

bool available() {
    return why_unavailable().empty();
}

const Backend& backend() {
    if (const std::string reason = why_unavailable(); !reason.empty())
        throw InputError("device cuda is not available: " + reason + "; use --device cpu");
#define IWSEG_KERNEL_ADDRESS(name) &cuda::name,
    static constexpr Backend table{"cuda", false, IWSEG_KERNELS(IWSEG_KERNEL_ADDRESS)};
#undef IWSEG_KERNEL_ADDRESS
    return table;
}

}  // namespace iwseg::cuda
