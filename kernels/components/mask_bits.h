#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace iwseg::cpu {

#if defined(__SSE2__)
/// Bit i tells whether byte i is nonzero.
[[gnu::always_inline]] inline std::uint64_t bits_of_64(const std::uint8_t* mask) {
    std::uint64_t zeros = 0;
    for (int i = 0; i < 4; ++i) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + 16 * i));
        const int equal = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
        zeros |= static_cast<std::uint64_t>(equal) << 16 * i;
    }
    return ~zeros;
}
#else
[[gnu::always_inline]] inline std::uint64_t bits_of_eight(std::uint64_t bytes) {
    constexpr std::uint64_t low7 = 0x7F7F7F7F7F7F7F7F;
    const std::uint64_t nonzero = (((bytes & low7) + low7) | bytes) >> 7 & 0x0101010101010101;
    return nonzero * 0x0102040810204080 >> 56;  // moves bit 8i to bit 56 + i, each to a place of its own
}

/// Bit i tells whether byte i is nonzero.
[[gnu::always_inline]] inline std::uint64_t bits_of_64(const std::uint8_t* mask) {
    std::uint64_t bytes[8], any = 0, bits = 0;
    std::memcpy(bytes, mask, sizeof(bytes));
    for (const std::uint64_t eight : bytes) any |= eight;
    if (any == 0) return 0;
    for (int i = 0; i < 8; ++i) bits |= bits_of_eight(bytes[i]) << 8 * i;
    return bits;
}
#endif

}  // namespace iwseg::cpu
