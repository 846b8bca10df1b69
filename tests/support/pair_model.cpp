// Winograd's products of pairs by AVX-512 without BF16, as the processor's instruction computes them but for denormal
// numbers, which that takes for 0, and the last bit. Linked in the place of
// kernels/convolution/winograd/pair_product_cpu.cpp.
#include "kernels/convolution/taps/lying_vector.h"
#include "kernels/convolution/taps/vectors.h"
#include "kernels/convolution/winograd/product.h"

#if IWSEG_TAPS_ON_X86

#include <immintrin.h>

#define IWSEG_FOR_PAIRS IWSEG_FOR_AVX512

namespace iwseg::cpu {
namespace {

struct PairInstructions {
    [[gnu::always_inline]] IWSEG_FOR_PAIRS static __m512 add_products(__m512 sums, __m512i weights, __m512i source) {
        using Bits = VectorBits<16>::Type;
        const auto w = reinterpret_cast<Bits>(weights), s = reinterpret_cast<Bits>(source);
        sums += reinterpret_cast<__m512>(w << 16) * reinterpret_cast<__m512>(s << 16);
        return sums + reinterpret_cast<__m512>(w & 0xFFFF0000u) * reinterpret_cast<__m512>(s & 0xFFFF0000u);
    }
};

}  // namespace

bool winograd_pairs_work() {
    return best_vectors() == Vectors::avx512;
}

}  // namespace iwseg::cpu

#include "kernels/convolution/winograd/pair_product.h"

#endif
