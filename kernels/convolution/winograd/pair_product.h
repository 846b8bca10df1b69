// Written once, for the processor's instructions and for a model of them in the tests: who includes this first defines
// IWSEG_FOR_PAIRS, what functions are compiled for, and in a namespace of its own PairInstructions::add_products(sums,
// weights, source), of two bf16 in each lane, the lower one first.
#include <immintrin.h>

#include <array>
#include <cstring>
#include <utility>

#include "kernels/convolution/winograd/product.h"

namespace iwseg::cpu {
namespace {

constexpr int kPairBlock = 16, kPairSums = 28;

/// As product_cpu.cpp's, with two neighbouring inputs in the place of one.
template <int N, int T>
IWSEG_FOR_PAIRS void pair_product(const WinogradProductInput& input, float* sums, std::int64_t sum_block) {
    constexpr int kBytes = kPairBlock * 2;  // of a tile's operands in a block
    __m512 total[T][N];
#pragma GCC unroll 28
    for (int i = 0; i < T * N; ++i) total[i / N][i % N] = _mm512_setzero_ps();
    for (int d = 0; d < input.depths; ++d) {
        const char* src = static_cast<const char*>(input.src[d]);
        const char* weights = static_cast<const char*>(input.weights[d]);
        for (std::int64_t b = 0; b < input.blocks; ++b, src += input.src_block * 2)
#pragma GCC unroll 1
            for (int c = 0; c < kPairBlock / 2; ++c, weights += N * kPairBlock * 4) {
                __m512i of[N];
#pragma GCC unroll 2
                for (int n = 0; n < N; ++n) of[n] = _mm512_loadu_si512(weights + n * kPairBlock * 4);
#pragma GCC unroll 28
                for (int t = 0; t < T; ++t) {
                    int two;
                    std::memcpy(&two, src + t * kBytes + c * 4, sizeof(two));
                    const __m512i both = _mm512_set1_epi32(two);
#pragma GCC unroll 2
                    for (int n = 0; n < N; ++n) total[t][n] = PairInstructions::add_products(total[t][n], of[n], both);
                }
            }
    }
#pragma GCC unroll 28
    for (int i = 0; i < T * N; ++i)
        _mm512_storeu_ps(sums + i % N * sum_block + i / N * kPairBlock, total[i / N][i % N]);
}

template <int N, int... kIndex>
constexpr std::array<WinogradProduct, sizeof...(kIndex)> pair_products(std::integer_sequence<int, kIndex...>) {
    return {pair_product<N, kIndex + 1>...};
}
template <int N>
WinogradProduct pair_product_of(int tiles) {
    static constexpr auto kAll = pair_products<N>(std::make_integer_sequence<int, kPairSums / N>());
    return kAll.at(static_cast<std::size_t>(tiles - 1));
}

}  // namespace

WinogradProduct winograd_pair_product(int output_blocks, int tiles) {
    return output_blocks == 1 ? pair_product_of<1>(tiles) : pair_product_of<2>(tiles);
}

}  // namespace iwseg::cpu
