#pragma once

// What every .cu file starts from. nvcc compiles the file as iwseg::cuda; the tests compile the same file with g++ as
// iwseg::simt, where tests/simt/simt.h (included before anything else) stands in for CUDA and runs the kernels on the
// CPU. Kernels use what both offer: SHARED for shared memory, launch() instead of <<<>>>, relaxed_load for what other
// threads may be writing, relaxed_store for what they may be reading.

#include <cstdint>

#include "kernels/device/declare.h"

#ifndef IWSEG_SIMT

#include <cuda_runtime.h>

/// The namespace kernels are compiled in.
#define IWSEG_BACKEND cuda
/// An array of shared memory of the block: SHARED(float, partial, 32);
#define SHARED(type, name, ...) __shared__ type name[__VA_ARGS__]

namespace iwseg::cuda {

/// Reads what other threads may be changing: never cached in a register, and a place where the executor may switch.
template <class T>
__device__ __forceinline__ T relaxed_load(const T* from) {
    return *static_cast<const volatile T*>(from);
}

/// Writes what other threads may be reading by relaxed_load or changing by atomics.
template <class T>
__device__ __forceinline__ void relaxed_store(T* to, std::type_identity_t<T> value) {
    *static_cast<volatile T*>(to) = value;
}

}  // namespace iwseg::cuda

#endif  // IWSEG_SIMT

#if !defined(IWSEG_SIMT) || defined(IWSEG_CUDA_STANDIN)

namespace iwseg {

struct LaunchShape {
    dim3 grid, block;
};

namespace cuda {

/// Throws std::runtime_error that names the operation, where a CUDA call failed.
void check(cudaError_t status, const char* operation);

/// Queues a kernel. Arguments are converted to the kernel's parameters. Throws, naming the launching function, where
/// the launch is refused.
template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchShape& shape, Stream stream, const A&... arguments) {
    static_assert(sizeof...(P) == sizeof...(A), "as many arguments as the kernel has parameters");
    if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
    const cudaLaunchConfig_t config{shape.grid, shape.block, 0, static_cast<cudaStream_t>(stream.handle), nullptr, 0};
    check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), "launching a kernel");
}

}  // namespace cuda
}  // namespace iwseg

#endif

namespace iwseg {

/// Blocks of `width` needed for `count` threads, at most `most`: kernels stride over the rest.
constexpr unsigned blocks_for(std::int64_t count, int width, std::int64_t most = 1 << 20) {
    const std::int64_t blocks = (count + width - 1) / width;
    return static_cast<unsigned>(blocks < most ? blocks : most);
}

}  // namespace iwseg
