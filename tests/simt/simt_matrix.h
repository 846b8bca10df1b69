#pragma once

// What kernels/cuda/warp_matrix.cuh asks of the device, on the executor: matrices of 8 x 8 bf16 between shared memory
// and the registers of a warp, their products, and asynchronous copies to shared memory. Registers are spread over the
// lanes as the PTX ISA says (ldmatrix; mma.m16n8k8 and m16n8k16). Included by tests/simt/simt.h.
//
// Errors: a lane that does not come along, an address that is not aligned to 16 bytes or lies outside the block's
// shared arrays, a thread that ends without having waited for its copies. Bank conflicts are counted, see
// launch_count().

#include <cstdint>

#include "kernels/device/bf16.h"
#include "tests/simt/call_site.h"

namespace iwseg::simt::executor {

/// Arguments of one lane. row: of 8 numbers, of matrix lane / 8, whose row lane % 8 it is.
struct MatrixLoad {
    const void* row;
    unsigned* to;  ///< a register a matrix
    int matrices;
    bool transposed;
};
void load_matrices(const MatrixLoad& lane, const CallSite& site);

/// c (16 x 8, f32) += a (16 x k, bf16) times b (k x 8, bf16), k = 8 or 16.
struct MatrixProduct {
    float* c;           ///< 4 registers
    const unsigned* a;  ///< k / 4 registers
    const unsigned* b;  ///< k / 8 registers
    int k;
};
void multiply_matrices(const MatrixProduct& lane, const CallSite& site);

void begin_copy(void* to, const void* from, int bytes);
void commit_copies();
void wait_for_copies(int left);

}  // namespace iwseg::simt::executor

namespace iwseg::IWSEG_BACKEND {

template <int N>
void load_matrices(const Bf16* row, unsigned (&to)[N], const simt::CallSite& site = simt::CallSite::current()) {
    simt::executor::load_matrices({row, to, N, false}, site);
}

template <int N>
void load_matrices_transposed(const Bf16* row, unsigned (&to)[N],
                              const simt::CallSite& site = simt::CallSite::current()) {
    simt::executor::load_matrices({row, to, N, true}, site);
}

template <int N, int M>
void multiply_add(float (&c)[4], const unsigned (&a)[N], const unsigned (&b)[M],
                  const simt::CallSite& site = simt::CallSite::current()) {
    static_assert(N == 2 * M && M <= 2, "a of 16 x 8 M numbers, b of 8 M x 8");
    simt::executor::multiply_matrices({c, a, b, 8 * M}, site);
}

inline void begin_copy(void* to, const void* from, bool inside) {
    simt::executor::begin_copy(to, from, inside ? 16 : 0);
}
inline void commit_copies() {
    simt::executor::commit_copies();
}
template <int kLeft>
void wait_for_copies() {
    simt::executor::wait_for_copies(kLeft);
}

}  // namespace iwseg::IWSEG_BACKEND
