#pragma once

#include "kernels/cpu/vector_of.h"

namespace iwseg::cpu {

/// A vector of f32 as it lies in memory. Read so, and not by memcpy, which the compiler cuts into what any processor
/// has before it knows what it compiles for.
template <int L>
struct LyingVector {
    typedef float Type __attribute__((vector_size(L * sizeof(float)), aligned(4), may_alias));
};

}  // namespace iwseg::cpu
