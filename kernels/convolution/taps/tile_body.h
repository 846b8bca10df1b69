#pragma once

#include <array>
#include <stdexcept>
#include <utility>

#include "kernels/convolution/taps/lying_vector.h"
#include "kernels/convolution/taps/tile.h"

namespace iwseg::cpu {

/// For each tap and source channel N vectors of L weights lie in registers, and each position's number of the source is
/// multiplied with all of them: it is read once for N products. S = 0: each channel of the N vectors has its own
/// weight.
template <int L, int N, int S, int R, int W>
[[gnu::always_inline]] inline void tap_tile_body(const TapTileInput& input, float* sums) {
    using V = Vector<L>;
    using Lying = typename LyingVector<L>::Type;
    V total[R][W][N];
    // Each by itself, here and below: as a whole the array would be kept in memory.
#pragma GCC unroll 28
    for (int i = 0; i < R * W * N; ++i)
        total[i / N / W][i / N % W][i % N] = input.add ? *reinterpret_cast<const Lying*>(sums + i * L) : V{};
    for (std::int64_t t = 0; t < input.count; ++t) {
        const float* src = static_cast<const float*>(input.src) + input.taps[t].src;
        const float* weights = static_cast<const float*>(input.weights) + input.taps[t].weights;
        if constexpr (S == 0) {
#pragma GCC unroll 28
            for (int i = 0; i < R * W * N; ++i) {
                const float* const at = src + i / N / W * input.row + (i / N % W * N + i % N) * L;
                total[i / N / W][i / N % W][i % N] +=
                    *reinterpret_cast<const Lying*>(at) * *reinterpret_cast<const Lying*>(weights + i % N * L);
            }
        }
#pragma GCC unroll 1
        for (int c = 0; c < S; ++c, weights += N * L) {
            V of[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) of[n] = *reinterpret_cast<const Lying*>(weights + n * L);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 14
                for (int w = 0; w < W; ++w) {
                    const float number = src[r * input.row + w * S + c];
#pragma GCC unroll 4
                    for (int n = 0; n < N; ++n) total[r][w][n] += number * of[n];
                }
        }
    }
#pragma GCC unroll 28
    for (int i = 0; i < R * W * N; ++i) *reinterpret_cast<Lying*>(sums + i * L) = total[i / N / W][i / N % W][i % N];
}

/// Tile<R, W>::run for each W up to kMost.
template <template <int, int> class Tile, int R, int... kIndex>
constexpr std::array<TapTile, sizeof...(kIndex)> tap_tiles_of(std::integer_sequence<int, kIndex...>) {
    return {Tile<R, kIndex + 1>::run...};
}

/// The one of Tile<rows, voxels>, of which there are those of at most kMost positions and 4 rows.
template <template <int, int> class Tile, int kMost>
TapTile tap_tile_among(TapTileSize size) {
    static constexpr auto one = tap_tiles_of<Tile, 1>(std::make_integer_sequence<int, kMost>());
    static constexpr auto two = tap_tiles_of<Tile, 2>(std::make_integer_sequence<int, kMost / 2>());
    static constexpr auto three = tap_tiles_of<Tile, 3>(std::make_integer_sequence<int, kMost / 3>());
    static constexpr auto four = tap_tiles_of<Tile, 4>(std::make_integer_sequence<int, kMost / 4>());
    const auto at = static_cast<std::size_t>(size.voxels - 1);
    switch (size.rows) {
        case 1:
            return one.at(at);
        case 2:
            return two.at(at);
        case 3:
            return three.at(at);
        case 4:
            return four.at(at);
    }
    throw std::invalid_argument("tap_tile: expected 1 to 4 rows");
}

}  // namespace iwseg::cpu
