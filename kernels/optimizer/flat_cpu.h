#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {

/// Elements of a chunk of flat buffers: of three f32 buffers 192 KB, which the second cache holds.
constexpr std::int64_t kFlatChunk = 16384;

inline std::int64_t flat_chunks(std::int64_t count) {
    return (count + kFlatChunk - 1) / kFlatChunk;
}

/// Calls body(first, elements, chunk) for the chunks of flat buffers, in any order.
template <class Body>
void for_flat_chunks(Stream stream, std::int64_t count, Body&& body) {
    parallel_for(stream, flat_chunks(count), [&](std::int64_t chunk) {
        const std::int64_t first = chunk * kFlatChunk;
        body(first, std::min(kFlatChunk, count - first), chunk);
    });
}

}  // namespace iwseg::cpu
