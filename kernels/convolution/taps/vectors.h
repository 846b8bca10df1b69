#pragma once

#include <cstdint>

/// What the tiles of the convolutions of any kernel are compiled for.
namespace iwseg::cpu {

enum class Vectors : std::uint8_t { none, avx2, avx512 };

/// The best that this processor has.
Vectors best_vectors();

}  // namespace iwseg::cpu

#if defined(__x86_64__) && defined(__GNUC__)
#define IWSEG_TAPS_ON_X86 1
#define IWSEG_FOR_AVX2 __attribute__((target("arch=x86-64-v3")))
#define IWSEG_FOR_AVX512 __attribute__((target("arch=x86-64-v4")))
#define IWSEG_FOR_AVX512_BF16 __attribute__((target("arch=x86-64-v4,avx512bf16")))
#else
#define IWSEG_TAPS_ON_X86 0
#endif
