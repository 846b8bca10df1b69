#pragma once

#include <algorithm>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/// Stores that go past the cache: for results larger than it, whose lines a usual store would read first, only to
/// overwrite them. Whoever stores so calls finish_past_cache before another thread may read.
namespace iwseg::cpu {

#if defined(__SSE2__)
/// Stores of a vector are aligned: elements before the first such place, and after the last.
[[gnu::always_inline]] inline std::int64_t elements_to_alignment(const std::int32_t* to, std::int64_t count) {
    return std::min<std::int64_t>(count, (16 - reinterpret_cast<std::uintptr_t>(to) % 16) % 16 / 4);
}
#endif

[[gnu::always_inline]] inline void copy_past_cache(const std::int32_t* from, std::int64_t count, std::int32_t* to) {
    std::int64_t i = 0;
#if defined(__SSE2__)
    for (const std::int64_t head = elements_to_alignment(to, count); i < head; ++i) to[i] = from[i];
    for (; i + 4 <= count; i += 4)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
#endif
    for (; i < count; ++i) to[i] = from[i];
}

[[gnu::always_inline]] inline void clear_past_cache(std::int32_t* to, std::int64_t count) {
    std::int64_t i = 0;
#if defined(__SSE2__)
    for (const std::int64_t head = elements_to_alignment(to, count); i < head; ++i) to[i] = 0;
    for (; i + 4 <= count; i += 4) _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm_setzero_si128());
#endif
    for (; i < count; ++i) to[i] = 0;
}

inline void finish_past_cache() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

}  // namespace iwseg::cpu
