#include "kernels/convolution_weights.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pack.cuh"

// Weights between the parameters' order, (O, C, k, k, k) in f32, and the one convolutions with channels innermost want,
// (O, k, k, k, C) in the operands' type. A block turns up to 64 channels of one output over in shared memory, so that
// both sides are read and written in runs: 4 + 2 bytes a weight in bf16. The taps of a channel lie 27 numbers (or 1)
// apart there, an odd count, so that lanes meet no bank twice.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kChannels = 64, kMostTaps = 27;

/// Where a block's channels start, and how many they are.
struct Part {
    std::int64_t output, first;
    int channels;
};

__device__ __forceinline__ Part part_of(const WeightShape& s) {
    const std::int64_t parts = (s.inputs + kChannels - 1) / kChannels, first = blockIdx.x % parts * kChannels;
    return {blockIdx.x / parts, first, static_cast<int>(min(s.inputs - first, std::int64_t{kChannels}))};
}

template <class T>
__global__ void pack_kernel(const float* weights, WeightShape s, T* packed) {
    SHARED(float, tile, kChannels * kMostTaps);
    const Part part = part_of(s);
    const float* from = weights + (part.output * s.inputs + part.first) * s.taps;
    for (int i = static_cast<int>(threadIdx.x); i < part.channels * s.taps; i += kThreads) tile[i] = from[i];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < part.channels * s.taps; i += kThreads) {
        const int tap = i / part.channels, c = i % part.channels;
        store(packed[(part.output * s.taps + tap) * s.inputs + part.first + c], tile[c * s.taps + tap]);
    }
}

template <class T>
__global__ void unpack_kernel(const T* packed, WeightShape s, float* weights) {
    SHARED(float, tile, kChannels * kMostTaps);
    const Part part = part_of(s);
    for (int i = static_cast<int>(threadIdx.x); i < part.channels * s.taps; i += kThreads) {
        const int tap = i / part.channels, c = i % part.channels;
        tile[c * s.taps + tap] = to_f32(packed[(part.output * s.taps + tap) * s.inputs + part.first + c]);
    }
    __syncthreads();
    float* to = weights + (part.output * s.inputs + part.first) * s.taps;
    for (int i = static_cast<int>(threadIdx.x); i < part.channels * s.taps; i += kThreads) to[i] = tile[i];
}

/// A pack lies within one voxel.
template <int W, class T>
__global__ void add_bias_kernel(const float* bias, std::int64_t packs, int channels, T* dst) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < packs; i += step) {
        const int first = static_cast<int>(i * W % channels);
        float values[W];
        load_pack<W>(dst + i * W, values);
#pragma unroll
        for (int k = 0; k < W; ++k) values[k] += bias[first + k];
        store_pack<W>(dst + i * W, values);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

LaunchShape shape_for(const WeightShape& s) {
    if (s.taps != 1 && s.taps != kMostTaps) throw std::invalid_argument("weights: expected a kernel of 1 or 3");
    return {static_cast<unsigned>(s.outputs * ((s.inputs + kChannels - 1) / kChannels)), kThreads};
}

}  // namespace

void pack_weights(Stream stream, const float* weights, const WeightShape& shape, Type type, void* packed) {
    with_real(type, [&](auto real) {
        using T = decltype(real);
        launch(pack_kernel<T>, shape_for(shape), stream, weights, shape, static_cast<T*>(packed));
    });
}

void unpack_weights(Stream stream, const void* packed, const WeightShape& shape, Type type, float* weights) {
    with_real(type, [&](auto real) {
        using T = decltype(real);
        launch(unpack_kernel<T>, shape_for(shape), stream, static_cast<const T*>(packed), shape, weights);
    });
}

void add_bias(Stream stream, const float* bias, View dst) {
    if (dst.layout != Layout::ndhwc) throw std::invalid_argument("add_bias: expected channels innermost (ndhwc)");
    with_real(dst.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(dst.shape.c, [&](auto width) {
            const std::int64_t packs = dst.shape.elements() / width();
            launch(add_bias_kernel<width(), T>, {blocks_for(packs, kThreads), kThreads}, stream, bias, packs,
                   static_cast<int>(dst.shape.c), dst.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
