#pragma once

#include <cstdint>

/// What the tiles of the convolutions of any kernel are compiled for.
namespace iwseg::cpu {

/// eight: of as many f32, AVX2's registers or, of ARM, two of NEON's each, of which there are as many.
enum class Vectors : std::uint8_t { none, eight, avx512 };

/// The best that this processor has.
Vectors best_vectors();
/// "AVX2", "NEON" or "AVX-512".
const char* name_of(Vectors vectors);

}  // namespace iwseg::cpu

// IWSEG_LANES_OF_EIGHT: what eight elements are written as, for a vector that the processor lacks stays in memory.
#if defined(__x86_64__) && defined(__GNUC__)
#define IWSEG_TAPS_ON_X86 1
#define IWSEG_TAPS_OF_EIGHT 1
#define IWSEG_LANES_OF_EIGHT 8
#define IWSEG_FOR_EIGHT __attribute__((target("arch=x86-64-v3")))
#define IWSEG_FOR_AVX512 __attribute__((target("arch=x86-64-v4")))
#define IWSEG_FOR_AVX512_BF16 __attribute__((target("arch=x86-64-v4,avx512bf16")))
#elif defined(__aarch64__) && defined(__GNUC__)
#define IWSEG_TAPS_ON_X86 0
#define IWSEG_TAPS_OF_EIGHT 1
#define IWSEG_LANES_OF_EIGHT 4
#define IWSEG_FOR_EIGHT
#else
#define IWSEG_TAPS_ON_X86 0
#define IWSEG_TAPS_OF_EIGHT 0
#endif
