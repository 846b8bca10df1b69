#include "kernels/convolution/winograd/gradient_product.h"

#include <stdexcept>
#include <string>

#include "kernels/convolution/taps/lying_vector.h"

// A block of 16 outputs is multiplied with 16 inputs, each read into all lanes; of blocks of 8 two outputs' are with as
// many inputs as leave the processor's two multiplications a cycle enough to read. The sums of a call begin at 0 and
// are then added to those before, so that long sums are sums of shorter ones.
namespace iwseg::cpu {

#if IWSEG_TAPS_OF_EIGHT
namespace {

constexpr int kLanes = IWSEG_LANES_OF_EIGHT;

/// kInputs of the B inputs at a time. N vectors of L hold the outputs.
template <int B, int L, int N, int kInputs>
[[gnu::always_inline]] inline void gradient_body(const WinogradGradientInput& input, float* sums) {
    using V = Vector<L>;
    using Lying = typename LyingVector<L>::Type;
    for (int first = 0; first < B; first += kInputs) {
        V total[kInputs][N];
#pragma GCC unroll 16
        for (int i = 0; i < kInputs * N; ++i) total[i / N][i % N] = V{};
        for (int plane = 0; plane < input.planes; ++plane) {
            const float* src = input.src[plane] + first;
            const float* diff = input.diff[plane];
            for (std::int64_t tile = 0; tile < input.tiles; ++tile, src += B, diff += B) {
                V of[N];
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n)
                    of[n] = *reinterpret_cast<const Lying*>(diff + n * L / B * input.diff_block + n * L % B);
#pragma GCC unroll 16
                for (int c = 0; c < kInputs; ++c) {
                    const float element = src[c];
#pragma GCC unroll 4
                    for (int n = 0; n < N; ++n) total[c][n] += element * of[n];
                }
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < kInputs * N; ++i)
            *reinterpret_cast<Lying*>(sums + (i % N * L / B * B + first + i / N) * B + i % N * L % B) +=
                total[i / N][i % N];
    }
}

template <int N>
IWSEG_FOR_EIGHT void gradient_of_eight(const WinogradGradientInput& input, float* sums) {
    gradient_body<8, kLanes, N * 8 / kLanes, N == 1 ? 8 : 4>(input, sums);
}
#if IWSEG_TAPS_ON_X86
template <int L, int N>
IWSEG_FOR_AVX512 void gradient_avx512(const WinogradGradientInput& input, float* sums) {
    gradient_body<L, L, N, L>(input, sums);
}
#endif

}  // namespace

WinogradGradientProduct winograd_gradient_product(Vectors vectors, std::int64_t block, int output_blocks) {
    if (vectors == Vectors::eight) return output_blocks == 1 ? gradient_of_eight<1> : gradient_of_eight<2>;
#if IWSEG_TAPS_ON_X86
    if (block == 16) return gradient_avx512<16, 1>;
    return output_blocks == 1 ? gradient_avx512<8, 1> : gradient_avx512<8, 2>;
#else
    throw std::logic_error("winograd_gradient_product: not on this processor, block " + std::to_string(block));
#endif
}

#else

WinogradGradientProduct winograd_gradient_product(Vectors, std::int64_t, int) {
    throw std::logic_error("winograd_gradient_product: not on this processor");
}

#endif

}  // namespace iwseg::cpu
