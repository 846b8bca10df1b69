#pragma once

/// A vector of B elements, for loops that are to stay in registers; it may lie anywhere that a float may.
namespace iwseg::cpu {

template <int B>
struct VectorOf {
    typedef float Type __attribute__((vector_size(B * sizeof(float)), aligned(4)));
};
template <int B>
using Vector = typename VectorOf<B>::Type;

}  // namespace iwseg::cpu
