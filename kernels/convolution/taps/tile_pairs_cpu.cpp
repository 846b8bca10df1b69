#include "kernels/convolution/taps/tile_body.h"

#include <cstring>

#if IWSEG_TAPS_ON_X86
#include <immintrin.h>
#endif

// As tile_avx512_cpu.cpp, with two neighbouring channels of bf16 in the place of one of f32: their products are exact,
// and added to f32 sums by one instruction.
namespace iwseg::cpu {

#if IWSEG_TAPS_ON_X86
namespace {

constexpr int kBlock = 16;

template <int K, int R, int W>
IWSEG_FOR_AVX512_BF16 void tile(const TapTileInput& input, float* sums) {
    __m512 total[R][W][K];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 14
        for (int w = 0; w < W; ++w)
#pragma GCC unroll 2
            for (int k = 0; k < K; ++k)
                total[r][w][k] =
                    input.add ? _mm512_loadu_ps(sums + ((r * W + w) * K + k) * kBlock) : _mm512_setzero_ps();
    for (std::int64_t t = 0; t < input.count; ++t) {
        const char* src = static_cast<const char*>(input.src) + input.taps[t].src * 2;
        const char* weights = static_cast<const char*>(input.weights) + input.taps[t].weights * 2;
        for (int c = 0; c < kBlock / 2; ++c, weights += K * kBlock * 4) {
            __m512bh of[K];
#pragma GCC unroll 2
            for (int k = 0; k < K; ++k)
                of[k] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weights + k * kBlock * 4));
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 14
                for (int w = 0; w < W; ++w) {
                    int two;
                    std::memcpy(&two, src + r * input.row * 2 + (w * kBlock + 2 * c) * 2, sizeof(two));
                    const auto both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(two));
#pragma GCC unroll 2
                    for (int k = 0; k < K; ++k) total[r][w][k] = _mm512_dpbf16_ps(total[r][w][k], of[k], both);
                }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 14
        for (int w = 0; w < W; ++w)
#pragma GCC unroll 2
            for (int k = 0; k < K; ++k) _mm512_storeu_ps(sums + ((r * W + w) * K + k) * kBlock, total[r][w][k]);
}

template <int K>
struct OfPairs {
    template <int R, int W>
    struct Tile {
        static constexpr TapTile run = tile<K, R, W>;
    };
};

}  // namespace

TapTile tap_tile_pairs(int outputs, TapTileSize size) {
    return outputs == kBlock ? tap_tile_among<OfPairs<1>::Tile, kTapTilePositions>(size)
                             : tap_tile_among<OfPairs<2>::Tile, kTapTilePositions>(size);
}

#else

TapTile tap_tile_pairs(int, TapTileSize) {
    throw std::logic_error("tap_tile: not on this processor");
}

#endif

}  // namespace iwseg::cpu
