#include <stdexcept>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/checksum.h"

// Each half-word is mixed with its place, and the results are added up: integers, so that the order does not matter.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;
using Sum = unsigned long long;  // the type that CUDA adds atomically

__global__ void checksum_kernel(const std::uint16_t* memory, std::int64_t count, Sum* sum) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    Sum own = 0;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
        Sum bits = (static_cast<Sum>(i) << 16 | memory[i]) * 0x9E3779B97F4A7C15u;
        bits = (bits ^ bits >> 32) * 0xE9846AF9B1A615Du;
        bits = (bits ^ bits >> 32) * 0xE9846AF9B1A615Du;
        own += bits ^ bits >> 28;
    }
    own = block_sum<kThreads>(own);
    if (threadIdx.x == 0) atomicAdd(sum, own);
}

}  // namespace

void add_checksum(Stream stream, const void* memory, std::int64_t bytes, std::uint64_t* sum) {
    if (bytes % 2 != 0) throw std::invalid_argument("checksum: expected an even number of bytes");
    const std::int64_t count = bytes / 2;
    launch(checksum_kernel, {blocks_for(count, kThreads, 4096), kThreads}, stream,
           static_cast<const std::uint16_t*>(memory), count, reinterpret_cast<Sum*>(sum));
}

}  // namespace iwseg::IWSEG_BACKEND
