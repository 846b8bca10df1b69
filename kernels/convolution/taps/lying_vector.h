#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cpu/vector_of.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {

/// A vector as it lies in memory. Read so, and not by memcpy, which the compiler cuts into what any processor
/// has before it knows what it compiles for.
template <int L>
struct LyingVector {
    typedef float Type __attribute__((vector_size(L * sizeof(float)), aligned(4), may_alias));
};
template <int L>
struct LyingHalves {
    typedef std::uint16_t Type __attribute__((vector_size(L * sizeof(std::uint16_t)), aligned(2), may_alias));
};
template <int L>
struct VectorBits {
    typedef std::uint32_t Type __attribute__((vector_size(L * sizeof(std::uint32_t))));
};

/// Elements as a vector of f32; by reference, for vectors that a processor may lack are not returned.
template <int L>
[[gnu::always_inline]] inline void load_vector(const float* from, Vector<L>& to) {
    to = *reinterpret_cast<const typename LyingVector<L>::Type*>(from);
}
template <int L, int... kIndex>
[[gnu::always_inline]] inline void widen_halves(const void* from, Vector<L>& to,
                                                std::integer_sequence<int, kIndex...>) {
    using Halves = typename LyingHalves<L>::Type;
    const Halves& halves = *static_cast<const Halves*>(from);
    const Halves zeros{};
    // One shuffle; converted and shifted they would be two vectors of half the length first (g++ 12).
    to = reinterpret_cast<Vector<L>>(__builtin_shufflevector(halves, zeros, (kIndex % 2 ? kIndex / 2 : L)...));
}
template <int L>
[[gnu::always_inline]] inline void load_vector(const Bf16* from, Vector<L>& to) {
    widen_halves<L>(from, to, std::make_integer_sequence<int, 2 * L>());
}

template <int L>
[[gnu::always_inline]] inline void store_vector(float* to, const Vector<L>& from) {
    *reinterpret_cast<typename LyingVector<L>::Type*>(to) = from;
}
/// Rounds as store() of a single element does.
template <int L>
[[gnu::always_inline]] inline void store_vector(Bf16* to, const Vector<L>& from) {
    using Bits = typename VectorBits<L>::Type;
    using Halves = typename LyingHalves<L>::Type;
    const Bits bits = reinterpret_cast<Bits>(from), upper = bits >> 16;
    const Bits rounded = (bits + 0x7FFFu + (upper & 1u)) >> 16;
    const Bits kept = (bits & 0x7FFFFFFFu) > 0x7F800000u ? upper | 0x40u : rounded;
    *reinterpret_cast<Halves*>(to) = __builtin_convertvector(kept, Halves);
}

}  // namespace iwseg::cpu
