#pragma once

// Stands in for CUB's scan.
#include "tests/cuda_standin/cuda_runtime.h"

namespace cub {

struct DeviceScan {
    /// Without scratch, only says how many bytes of it are wanted.
    static cudaError_t ExclusiveSum(void* scratch, std::size_t& bytes, std::uint32_t* numbers, std::int64_t count,
                                    cudaStream_t stream = nullptr);
};

}  // namespace cub
