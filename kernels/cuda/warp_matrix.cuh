#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/device/bf16.h"

// Matrix products of a whole warp, and copies to shared memory that run beside it, for sm_80 and up; on older cards the
// code is there and traps. All 32 lanes call together. A matrix of 8 x 8 bf16 takes one register a lane: lane l holds
// row l / 4, columns l % 4 * 2 and the next, the lower half first. Each of the 8 rows is 16 bytes of shared memory,
// aligned to that. The tests' executor computes the same (tests/simt/simt_matrix.h), so kernels call these names only.
//
//   load_matrices(row, to)             N matrices; lane l gives the address of row l % 8 of matrix l / 8, others any
//   load_matrices_transposed(row, to)  the same matrices, each with rows and columns exchanged
//   multiply_add(c, a, b)              c (16 x 8) += a (16 x 8 M) b (8 M x 8), M = 1 or 2, sums in f32, in an order
//   that is
//                                      the card's. a: matrices of (rows 0-7, k 0-7), (8-15, 0-7), then of k 8-15. b: of
//                                      k 0-7, then 8-15, transposed: row n, column k. c: row l / 4 first, row l / 4 + 8
//                                      then, of each the columns l % 4 * 2 and the next
//   begin_copy(to, from, inside)       16 bytes from global to shared memory, zeros where not inside (from is then not
//   read) commit_copies()                    what this thread has begun becomes a group wait_for_copies<kLeft>() until
//   all but the last kLeft groups of this thread have landed. Other threads see
//                                      what has landed after a barrier that follows
#ifndef IWSEG_SIMT

namespace iwseg::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define IWSEG_WARP_MATRIX(...) __trap()
#else
#define IWSEG_WARP_MATRIX(...) asm volatile(__VA_ARGS__)
#endif

/// As instructions name shared memory.
__device__ __forceinline__ unsigned shared_address(const void* address) {
    return static_cast<unsigned>(__cvta_generic_to_shared(address));
}

__device__ __forceinline__ void load_matrices(const Bf16* row, unsigned (&to)[1]) {
    IWSEG_WARP_MATRIX("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                      : "=r"(to[0])
                      : "r"(shared_address(row))
                      : "memory");
}
__device__ __forceinline__ void load_matrices(const Bf16* row, unsigned (&to)[2]) {
    IWSEG_WARP_MATRIX("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                      : "=r"(to[0]), "=r"(to[1])
                      : "r"(shared_address(row))
                      : "memory");
}
__device__ __forceinline__ void load_matrices(const Bf16* row, unsigned (&to)[4]) {
    IWSEG_WARP_MATRIX("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                      : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                      : "r"(shared_address(row))
                      : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(const Bf16* row, unsigned (&to)[1]) {
    IWSEG_WARP_MATRIX("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                      : "=r"(to[0])
                      : "r"(shared_address(row))
                      : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(const Bf16* row, unsigned (&to)[2]) {
    IWSEG_WARP_MATRIX("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                      : "=r"(to[0]), "=r"(to[1])
                      : "r"(shared_address(row))
                      : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(const Bf16* row, unsigned (&to)[4]) {
    IWSEG_WARP_MATRIX("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                      : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                      : "r"(shared_address(row))
                      : "memory");
}

__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[2], const unsigned (&b)[1]) {
    IWSEG_WARP_MATRIX(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    IWSEG_WARP_MATRIX(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void begin_copy(void* to, const void* from, bool inside) {
    IWSEG_WARP_MATRIX("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                      "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
                      : "memory");
}
__device__ __forceinline__ void commit_copies() {
    IWSEG_WARP_MATRIX("cp.async.commit_group;" ::: "memory");
}
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
    IWSEG_WARP_MATRIX("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

#undef IWSEG_WARP_MATRIX

}  // namespace iwseg::cuda

#endif  // IWSEG_SIMT
