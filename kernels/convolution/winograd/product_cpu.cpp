#include "kernels/convolution/winograd/product.h"

#include <array>
#include <stdexcept>
#include <utility>

#include "kernels/convolution/taps/lying_vector.h"

// An element of the source is read into all lanes and multiplied with the weights of all blocks of outputs: with 28
// sums in registers there is a read for every one or two products, which the processor does beside them.
namespace iwseg::cpu {
namespace {

/// Sums in registers, of 32 or 16, beside weights and an element of the source.
constexpr int kSumsAvx512 = 28, kSumsOfEight = 12;

}  // namespace

int most_winograd_tiles(Vectors vectors, int output_blocks) {
    return (vectors == Vectors::eight ? kSumsOfEight : kSumsAvx512) / output_blocks;
}

#if IWSEG_TAPS_OF_EIGHT
namespace {

/// B: of a block. N vectors of L hold the outputs.
template <int B, int L, int N, int T>
[[gnu::always_inline]] inline void product_body(const WinogradProductInput& input, float* sums,
                                                std::int64_t sum_block) {
    using V = Vector<L>;
    using Lying = typename LyingVector<L>::Type;
    V total[T][N];
#pragma GCC unroll 28
    for (int i = 0; i < T * N; ++i) total[i / N][i % N] = V{};
    for (int d = 0; d < input.depths; ++d) {
        const float* src = static_cast<const float*>(input.src[d]);
        const float* weights = static_cast<const float*>(input.weights[d]);
        for (std::int64_t b = 0; b < input.blocks; ++b, src += input.src_block)
#pragma GCC unroll 1
            for (int c = 0; c < B; ++c, weights += N * L) {
                V of[N];
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n) of[n] = *reinterpret_cast<const Lying*>(weights + n * L);
#pragma GCC unroll 28
                for (int t = 0; t < T; ++t) {
                    const float element = src[t * B + c];
#pragma GCC unroll 4
                    for (int n = 0; n < N; ++n) total[t][n] += element * of[n];
                }
            }
    }
#pragma GCC unroll 28
    for (int i = 0; i < T * N; ++i)
        *reinterpret_cast<Lying*>(sums + i % N * L / B * sum_block + i / N * B + i % N * L % B) = total[i / N][i % N];
}

constexpr int kLanes = IWSEG_LANES_OF_EIGHT;

template <int N, int T>
IWSEG_FOR_EIGHT void product_of_eight(const WinogradProductInput& input, float* sums, std::int64_t sum_block) {
    product_body<8, kLanes, N * 8 / kLanes, T>(input, sums, sum_block);
}
#if IWSEG_TAPS_ON_X86
template <int L, int N, int T>
IWSEG_FOR_AVX512 void product_avx512(const WinogradProductInput& input, float* sums, std::int64_t sum_block) {
    product_body<L, L, N, T>(input, sums, sum_block);
}
template <int L, int N, int... kIndex>
constexpr std::array<WinogradProduct, sizeof...(kIndex)> products_avx512(std::integer_sequence<int, kIndex...>) {
    return {product_avx512<L, N, kIndex + 1>...};
}

template <int N>
WinogradProduct wider_product(std::int64_t block, std::size_t at) {
    static constexpr auto kOf8 = products_avx512<8, N>(std::make_integer_sequence<int, kSumsAvx512 / N>());
    static constexpr auto kOf16 = products_avx512<16, N>(std::make_integer_sequence<int, kSumsAvx512 / N>());
    return block == 8 ? kOf8.at(at) : kOf16.at(at);
}
#else
template <int N>
WinogradProduct wider_product(std::int64_t, std::size_t) {
    throw std::logic_error("winograd_product: not on this processor");
}
#endif

template <int N, int... kIndex>
constexpr std::array<WinogradProduct, sizeof...(kIndex)> products_of_eight(std::integer_sequence<int, kIndex...>) {
    return {product_of_eight<N, kIndex + 1>...};
}
template <int N>
WinogradProduct product_of(Vectors vectors, std::int64_t block, std::size_t at) {
    static constexpr auto kEight = products_of_eight<N>(std::make_integer_sequence<int, kSumsOfEight / N>());
    return vectors == Vectors::eight ? kEight.at(at) : wider_product<N>(block, at);
}

}  // namespace

WinogradProduct winograd_product(Vectors vectors, std::int64_t block, int output_blocks, int tiles) {
    const auto at = static_cast<std::size_t>(tiles - 1);
    return output_blocks == 1 ? product_of<1>(vectors, block, at) : product_of<2>(vectors, block, at);
}

#else

WinogradProduct winograd_product(Vectors, std::int64_t, int, int) {
    throw std::logic_error("winograd_product: not on this processor");
}

#endif

}  // namespace iwseg::cpu
