#pragma once

#include <bit>

#include "kernels/cuda/launch.h"
#include "kernels/device/bf16.h"

// Accesses of 16 bytes: a warp then moves 512 bytes an instruction, which is what bandwidth asks for.
namespace iwseg::IWSEG_BACKEND {

/// Numbers in 16 bytes: 4 of f32, 8 of bf16.
template <class T>
constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

/// W elements next to each other, aligned to all of them.
template <class T, int W>
struct alignas(sizeof(T) * W) Pack {
    T values[W];
};

/// The W elements from `from`, which is aligned to all of them, as they are stored.
template <int W, class T>
__device__ __forceinline__ Pack<T, W> pack_at(const T* from) {
    return *reinterpret_cast<const Pack<T, W>*>(from);
}

/// The same as f32.
template <int W, class T>
__device__ __forceinline__ void load_pack(const T* from, float (&to)[W]) {
    const Pack<T, W> pack = pack_at<W>(from);
#pragma unroll
    for (int i = 0; i < W; ++i) to[i] = to_f32(pack.values[i]);
}

/// 16 bytes, aligned to as many, as four words.
__device__ __forceinline__ uint4 load_16_bytes(const void* from) {
    return *static_cast<const uint4*>(from);
}

/// Writes 16 bytes of device memory by one instruction. nvcc takes a structure's assignment apart into its elements and
/// joins them again only where it can see how the address is aligned, which in half of the kernels it cannot.
__device__ __forceinline__ void store_16_bytes(void* to, const uint4& bits) {
#ifdef __CUDA_ARCH__
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(bits.x),
                 "r"(bits.y), "r"(bits.z), "r"(bits.w)
                 : "memory");
#else
    *static_cast<uint4*>(to) = bits;
#endif
}

template <int W, class T>
__device__ __forceinline__ void store_pack(T* to, const float (&from)[W]) {
    Pack<T, W> pack;
#pragma unroll
    for (int i = 0; i < W; ++i) store(pack.values[i], from[i]);
    if constexpr (sizeof pack == 16)
        store_16_bytes(to, std::bit_cast<uint4>(pack));
    else
        *reinterpret_cast<Pack<T, W>*>(to) = pack;
}

/// The widest pack that divides `count` elements of a type evenly, and so keeps rows of so many aligned: calls
/// body(std::integral_constant<int, W>{}) with the full pack or 1.
template <class T, class Body>
void with_pack(std::int64_t count, Body&& body) {
    if (count % kPackWidth<T> == 0) return body(std::integral_constant<int, kPackWidth<T>>{});
    return body(std::integral_constant<int, 1>{});
}

}  // namespace iwseg::IWSEG_BACKEND
