#include "kernels/convolution/taps/gradient_tile.h"

#include <stdexcept>

#include "kernels/convolution/taps/lying_vector.h"

#if IWSEG_TAPS_ON_X86
#include <immintrin.h>
#endif

namespace iwseg::cpu {

#if IWSEG_TAPS_OF_EIGHT
namespace {

constexpr int kInputs = kGradientTileInputs;

/// B: lanes of what input.diff points to, each as B / L of N vectors.
template <int B, int L, int N, bool kDepthwise>
[[gnu::always_inline]] inline void tile_body(const GradientTileInput& input, float* sums) {
    using V = Vector<L>;
    using Lying = typename LyingVector<L>::Type;
    const float* src[kInputs];
    V total[kInputs][N];
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) {
        src[i] = static_cast<const float*>(input.src[i]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) total[i][n] = *reinterpret_cast<Lying*>(sums + (i * N + n) * L);
    }
    for (std::int64_t r = 0; r < input.rows; ++r) {
        std::int64_t at = r * input.src_row, of = r * input.diff_row;
        for (std::int64_t q = 0; q < input.positions; ++q, at += input.src_step, of += input.diff_step) {
            V diff[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n)
                diff[n] =
                    *reinterpret_cast<const Lying*>(static_cast<const float*>(input.diff[n * L / B]) + of + n * L % B);
#pragma GCC unroll 8
            for (int i = 0; i < kInputs; ++i)
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n) {
                    if constexpr (kDepthwise)
                        total[i][n] += *reinterpret_cast<const Lying*>(src[i] + at + n * L % B) * diff[n];
                    else
                        total[i][n] += src[i][at] * diff[n];
                }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) *reinterpret_cast<Lying*>(sums + (i * N + n) * L) = total[i][n];
}

template <bool kDepthwise>
IWSEG_FOR_EIGHT void tile_of_eight(const GradientTileInput& input, float* sums) {
    tile_body<8, IWSEG_LANES_OF_EIGHT, 8 / IWSEG_LANES_OF_EIGHT, kDepthwise>(input, sums);
}

#if IWSEG_TAPS_ON_X86
template <int L, int N, bool kDepthwise = false>
IWSEG_FOR_AVX512 void tile_avx512(const GradientTileInput& input, float* sums) {
    tile_body<L, L, N, kDepthwise>(input, sums);
}

/// Products of bf16 are exact, and two positions' are added to an f32 sum by one instruction.
template <int N>
IWSEG_FOR_AVX512_BF16 void tile_pairs(const GradientTileInput& input, float* sums) {
    constexpr int L = 16;
    const int* src[kInputs];
    __m512 total[kInputs][N];
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) {
        src[i] = static_cast<const int*>(input.src[i]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) total[i][n] = _mm512_loadu_ps(sums + (i * N + n) * L);
    }
    for (std::int64_t r = 0; r < input.rows; ++r) {
        std::int64_t at = r * input.src_row, of = r * input.diff_row;
        for (std::int64_t q = 0; q < input.positions; ++q, at += input.src_step, of += input.diff_step) {
            __m512bh diff[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n)
                diff[n] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(static_cast<const int*>(input.diff[n]) + of));
#pragma GCC unroll 8
            for (int i = 0; i < kInputs; ++i) {
                const auto two = reinterpret_cast<__m512bh>(_mm512_set1_epi32(src[i][at]));
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n) total[i][n] = _mm512_dpbf16_ps(total[i][n], diff[n], two);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) _mm512_storeu_ps(sums + (i * N + n) * L, total[i][n]);
}

GradientTile tile_of_sixteen(const GradientTileKind& kind) {
    if (kind.pairs) return kind.count == 1 ? tile_pairs<1> : tile_pairs<2>;
    if (kind.depthwise) return kind.lanes == 8 ? tile_avx512<8, 1, true> : tile_avx512<16, 1, true>;
    if (kind.lanes == 8) return kind.count == 1 ? tile_avx512<8, 1> : tile_avx512<8, 2>;
    return kind.count == 1 ? tile_avx512<16, 1> : tile_avx512<16, 2>;
}
#else
GradientTile tile_of_sixteen(const GradientTileKind&) {
    throw std::logic_error("gradient_tile: not on this processor");
}
#endif

}  // namespace

GradientTile gradient_tile(const GradientTileKind& kind) {
    if (kind.vectors != Vectors::eight) return tile_of_sixteen(kind);
    return kind.depthwise ? tile_of_eight<true> : tile_of_eight<false>;
}

#else

GradientTile gradient_tile(const GradientTileKind&) {
    throw std::logic_error("gradient_tile: not on this processor");
}

#endif

}  // namespace iwseg::cpu
