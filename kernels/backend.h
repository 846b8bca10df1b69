#pragma once

/// A function that kernels call too.
#if defined(__CUDACC__)
#define IWSEG_HOST_DEVICE __host__ __device__
#else
#define IWSEG_HOST_DEVICE
#endif

namespace iwseg {

/// Where work is queued: a cudaStream_t on CUDA, unused on the CPU.
struct Stream {
    void* handle = nullptr;
};

/// Who computes a gradient's destination says whether it starts there or adds to what is there.
enum class Write : unsigned char { overwrite, accumulate };

}  // namespace iwseg

/// Declares the same functions for every backend: iwseg::cpu, iwseg::cuda, and iwseg::simt (the CUDA source run on
/// the CPU, in tests).
#define IWSEG_BACKENDS(...)    \
    namespace iwseg::cpu {     \
    __VA_ARGS__                \
    }                          \
    namespace iwseg::cuda {    \
    __VA_ARGS__                \
    }                          \
    namespace iwseg::simt {    \
    __VA_ARGS__                \
    }
