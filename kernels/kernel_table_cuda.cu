#include "kernels/kernel_table.h"

#include <string>

#include "kernels/error.h"
#include "kernels/launch.h"

namespace iwseg::cuda {
namespace {

constexpr int kOldestCapability = 75;  ///< the oldest card this is compiled for

}  // namespace

std::string why_unavailable() {
    int driver = 0, runtime = 0, count = 0;
    cudaRuntimeGetVersion(&runtime);
    const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "this machine has no NVIDIA driver";
    if (driver / 1000 < runtime / 1000)
        return "the NVIDIA driver supports CUDA " + version(driver) + ", but this build needs " + version(runtime);
    if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess || count == 0) {
        cudaGetLastError();
        return std::string("there is no usable GPU (") + cudaGetErrorString(status) + ")";
    }
    cudaDeviceProp card{};
    check(cudaGetDeviceProperties(&card, 0), "reading the GPU's properties");
    if (card.major * 10 + card.minor < kOldestCapability)
        return std::string(card.name) + " is of compute capability " + std::to_string(card.major) + "." +
               std::to_string(card.minor) + ", but 7.5 is the oldest supported";
    return "";
}

bool available() { return why_unavailable().empty(); }

const Kernels& kernels() {
    if (const std::string reason = why_unavailable(); !reason.empty())
        throw InputError("device cuda is not available: " + reason + "; use --device cpu");
#define IWSEG_KERNEL_ADDRESS(name) &cuda::name,
    static constexpr Kernels table{"cuda", false, IWSEG_KERNELS(IWSEG_KERNEL_ADDRESS)};
#undef IWSEG_KERNEL_ADDRESS
    return table;
}

}  // namespace iwseg::cuda
