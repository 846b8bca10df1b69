#include "kernels/convolution/amx/voxel_tiles.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kChannels = 16, kTileVoxels = 32;

using Channels = std::uint16_t __attribute__((vector_size(32)));
using TwoVoxels = std::uint16_t __attribute__((vector_size(64)));

/// Exchanges what lies off the diagonal in each square of 2 by 2 squares of kSide elements: with sides of 1, 2, 4 and
/// 8, one after the other, a square of 16 is transposed.
template <int kSide, int... kAt>
[[gnu::always_inline]] inline void exchange(Channels& upper, Channels& lower, std::integer_sequence<int, kAt...>) {
    const Channels above = upper, below = lower;
    upper = __builtin_shufflevector(above, below, (kAt & kSide ? 16 + kAt - kSide : kAt)...);
    lower = __builtin_shufflevector(above, below, (kAt & kSide ? 16 + kAt : kAt + kSide)...);
}

template <int kSide>
[[gnu::always_inline]] inline void exchange_all(Channels (&rows)[16]) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i)
        if ((i & kSide) == 0) exchange<kSide>(rows[i], rows[i + kSide], std::make_integer_sequence<int, 16>());
}

template <int... kAt>
[[gnu::always_inline]] inline TwoVoxels interleaved(const Channels& one, const Channels& next,
                                                    std::integer_sequence<int, kAt...>) {
    return __builtin_shufflevector(one, next, (kAt % 2 * 16 + kAt / 2)...);
}

template <class T>
[[gnu::always_inline]] inline void gather(const T* row, std::int64_t width, std::int64_t first, std::int64_t step,
                                          std::int64_t count, Bf16* to) {
    const std::int64_t begin = row ? std::min(first < 0 ? (step - 1 - first) / step : 0, count) : count;
    const std::int64_t end = row && first < width ? std::clamp((width - first + step - 1) / step, begin, count) : begin;
    constexpr std::size_t kBytes = kChannels * sizeof(Bf16);
    std::memset(to, 0, static_cast<std::size_t>(begin) * kBytes);
    for (std::int64_t v = begin; v < end; ++v) {
        const T* from = row + (first + v * step) * kChannels;
        if constexpr (sizeof(T) == 2)
            std::memcpy(to + v * kChannels, from, kBytes);
        else
            for (int c = 0; c < kChannels; ++c) store(to[v * kChannels + c], from[c]);
    }
    std::memset(to + end * kChannels, 0, static_cast<std::size_t>(count - end) * kBytes);
}

}  // namespace

IWSEG_VECTOR_CLONES void transpose_voxels(const Bf16* voxels, std::int64_t count, Bf16* to) {
    for (std::int64_t v = 0; v < count; v += 16, voxels += 16 * kChannels) {
        Channels rows[16];
        std::memcpy(rows, voxels, sizeof(rows));
        exchange_all<1>(rows);
        exchange_all<2>(rows);
        exchange_all<4>(rows);
        exchange_all<8>(rows);
        Bf16* tile = to + v / kTileVoxels * kTileVoxels * kChannels + v % kTileVoxels;
        for (int c = 0; c < kChannels; ++c) std::memcpy(tile + c * kTileVoxels, &rows[c], sizeof(Channels));
    }
}

IWSEG_VECTOR_CLONES void interleave_voxels(const Bf16* voxels, std::int64_t pairs, Bf16* to) {
    for (std::int64_t p = 0; p < pairs; ++p, voxels += 2 * kChannels, to += 2 * kChannels) {
        Channels two[2];
        std::memcpy(two, voxels, sizeof(two));
        const TwoVoxels mixed = interleaved(two[0], two[1], std::make_integer_sequence<int, 32>());
        std::memcpy(to, &mixed, sizeof(mixed));
    }
}

IWSEG_VECTOR_CLONES void gather_voxels(const float* row, std::int64_t width, std::int64_t first, std::int64_t step,
                                       std::int64_t count, Bf16* to) {
    gather(row, width, first, step, count, to);
}
IWSEG_VECTOR_CLONES void gather_voxels(const Bf16* row, std::int64_t width, std::int64_t first, std::int64_t step,
                                       std::int64_t count, Bf16* to) {
    gather(row, width, first, step, count, to);
}

}  // namespace iwseg::cpu
