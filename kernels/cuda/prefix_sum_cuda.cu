#include "kernels/cuda/prefix_sum.h"

#include <cstddef>
#include <cub/device/device_scan.cuh>

namespace iwseg::cuda {

std::int64_t prefix_sum_scratch_bytes(std::int64_t count) {
    std::size_t bytes = 0;
    check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, static_cast<std::uint32_t*>(nullptr), count),
          "sizing a prefix sum");
    return static_cast<std::int64_t>(bytes);
}

void prefix_sum(Stream stream, std::uint32_t* elements, std::int64_t count, void* scratch) {
    if (count == 0) return;
    auto bytes = static_cast<std::size_t>(prefix_sum_scratch_bytes(count));
    check(cub::DeviceScan::ExclusiveSum(scratch, bytes, elements, count, static_cast<cudaStream_t>(stream.handle)),
          "a prefix sum");
}

}  // namespace iwseg::cuda
