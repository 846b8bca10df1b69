#pragma once

#include "kernels/bf16.h"
#include "kernels/launch.h"

// Accesses of 16 bytes: a warp then moves 512 bytes an instruction, which is what bandwidth asks for.
namespace iwseg::IWSEG_BACKEND {

/// Numbers in 16 bytes: 4 of f32, 8 of bf16.
template <class T>
constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

/// W numbers next to each other, aligned to all of them.
template <class T, int W>
struct alignas(sizeof(T) * W) Pack {
    T values[W];
};

/// Reads W numbers as f32; `from` is aligned to W of them.
template <int W, class T>
__device__ __forceinline__ void load_pack(const T* from, float (&to)[W]) {
    const Pack<T, W> pack = *reinterpret_cast<const Pack<T, W>*>(from);
#pragma unroll
    for (int i = 0; i < W; ++i) to[i] = to_f32(pack.values[i]);
}

template <int W, class T>
__device__ __forceinline__ void store_pack(T* to, const float (&from)[W]) {
    Pack<T, W> pack;
#pragma unroll
    for (int i = 0; i < W; ++i) store(pack.values[i], from[i]);
    *reinterpret_cast<Pack<T, W>*>(to) = pack;
}

/// The widest pack that divides `count` numbers of a type evenly, and so keeps rows of so many aligned: calls
/// body(std::integral_constant<int, W>{}) with the full pack or 1.
template <class T, class Body>
void with_pack(std::int64_t count, Body&& body) {
    if (count % kPackWidth<T> == 0) return body(std::integral_constant<int, kPackWidth<T>>{});
    return body(std::integral_constant<int, 1>{});
}

}  // namespace iwseg::IWSEG_BACKEND
