#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/cuda/pack.cuh"
#include "kernels/device/view.h"

// What the direct convolutions share: where elements lie, and groups of eight channels.
namespace iwseg::IWSEG_BACKEND {

/// A tensor (N, C, D, H, W) in ncdhw or ndhwc: elements from one sample, channel and voxel to the next.
struct Strides {
    std::int64_t sample, channel, voxel;
};

inline Strides strides_of(const View& view) {
    const std::int64_t c = view.shape.c, voxels = view.shape.voxels();
    if (view.layout == Layout::ndhwc) return {c * voxels, 1, c};
    return {c * voxels, voxels, 1};
}

/// Voxels of a sample along each axis.
struct Size {
    int d, h, w;
};

inline Size size_of(const Shape& shape) {
    return {static_cast<int>(shape.d), static_cast<int>(shape.h), static_cast<int>(shape.w)};
}

/// Throws std::invalid_argument where a tensor is not of the form that a convolution was made for.
inline void require(const View& view, const Shape& shape, Type type, Layout layout, const char* what) {
    if (view.shape == shape && view.type == type && (view.layout == layout || shape.c == 1)) return;
    throw std::invalid_argument(std::string("convolution: ") + what +
                                " is not of the shape, type or layout it was made for");
}

/// Parts of a weight gradient: enough to fill a card where the weights are few, and few where their copies are large.
inline int parts_for(std::int64_t weights, std::int64_t rows) {
    constexpr std::int64_t kThreadsWanted = 1 << 19, kMost = 512;
    return static_cast<int>(std::clamp<std::int64_t>(kThreadsWanted / weights, 1, std::min(kMost, rows)));
}

/// Channels a thread holds: 16 bytes of bf16, twice 16 of f32.
constexpr int kEight = 8;

template <class T>
__device__ __forceinline__ void load_eight(const T* from, float (&to)[kEight]) {
    constexpr int W = kPackWidth<T>;
#pragma unroll
    for (int first = 0; first < kEight; first += W) {
        float part[W];
        load_pack<W>(from + first, part);
#pragma unroll
        for (int i = 0; i < W; ++i) to[first + i] = part[i];
    }
}

template <class T>
__device__ __forceinline__ void store_eight(T* to, const float (&from)[kEight]) {
    constexpr int W = kPackWidth<T>;
#pragma unroll
    for (int first = 0; first < kEight; first += W) {
        float part[W];
#pragma unroll
        for (int i = 0; i < W; ++i) part[i] = from[first + i];
        store_pack<W>(to + first, part);
    }
}

/// A weight as a convolution with operands of type T multiplies it.
template <class T>
__device__ __forceinline__ float as_operand(float weight) {
    T operand;
    store(operand, weight);
    return to_f32(operand);
}

}  // namespace iwseg::IWSEG_BACKEND
