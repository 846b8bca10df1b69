#include "kernels/convolution/winograd/product.h"
#include "kernels/cpu/instruction_set.h"

#if IWSEG_TAPS_ON_X86

#include <immintrin.h>

#define IWSEG_FOR_PAIRS IWSEG_FOR_AVX512_BF16

namespace iwseg::cpu {
namespace {

struct PairInstructions {
    [[gnu::always_inline]] IWSEG_FOR_PAIRS static __m512 add_products(__m512 sums, __m512i weights, __m512i source) {
        return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(weights), reinterpret_cast<__m512bh>(source));
    }
};

}  // namespace

bool winograd_pairs_work() {
    return may_use(InstructionSet::avx512_bf16);
}

}  // namespace iwseg::cpu

#include "kernels/convolution/winograd/pair_product.h"

#else

#include <stdexcept>

namespace iwseg::cpu {

bool winograd_pairs_work() {
    return false;
}
WinogradProduct winograd_pair_product(int, int) {
    throw std::logic_error("winograd_pair_product: not on this processor");
}

}  // namespace iwseg::cpu

#endif
