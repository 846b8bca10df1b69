#pragma once

/// A function that kernels call too.
#if defined(__CUDACC__)
#define IWSEG_HOST_DEVICE __host__ __device__
#else
#define IWSEG_HOST_DEVICE
#endif

namespace iwseg {

/// Where work is queued: a cudaStream_t on CUDA, the threads that compute on the CPU.
struct Stream {
    void* handle = nullptr;
    /// kStreamCounters of the device's memory that are 0 between kernels: by them blocks know which of them ends last
    /// (kernels/cuda/last_block.cuh). Of an opened stream on a device with memory of its own.
    unsigned* counters = nullptr;
};
constexpr int kStreamCounters = 256, kStreamCounterBytes = kStreamCounters * static_cast<int>(sizeof(unsigned));

/// Who computes a gradient's destination says whether it starts there or adds to what is there.
enum class Write : unsigned char { overwrite, accumulate };

}  // namespace iwseg

/// Declares the same functions for every backend: iwseg::cpu, iwseg::cuda, and iwseg::simt (the CUDA source run on
/// the CPU, in tests).
#define IWSEG_BACKENDS(...) \
    namespace iwseg::cpu {  \
    __VA_ARGS__             \
    }                       \
    namespace iwseg::cuda { \
    __VA_ARGS__             \
    }                       \
    namespace iwseg::simt { \
    __VA_ARGS__             \
    }
