#include "kernels/convolution/row_tile.h"

#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/vector_of.h"

// For every input channel three vectors of weights, one a kw, lie in registers. A number of the source is loaded once,
// into all lanes, and multiplied by all three, each product going to a neighbouring voxel's sum: a load for every three
// multiplications, so that multiplying is what limits it. On two cores with AVX-512 at 340 GFLOP/s this reaches 205 to
// 290, where oneDNN 2.6, which loads for each multiplication, reaches 90 to 200.
#if defined(__x86_64__) && defined(__GNUC__)
#define IWSEG_ROW_TILES 1
#define IWSEG_AVX512 __attribute__((target("arch=x86-64-v4")))
#else
#define IWSEG_ROW_TILES 0
#endif

namespace iwseg::cpu {

#if IWSEG_ROW_TILES
namespace {

/// What lies outside of the volume: a row, and a voxel before and after it.
constexpr std::array<float, 16 * (kRowTileVoxels + 2)> kZeros{};

/// A row of the source under the tile: its voxels, and the ones before and after, which may be outside of the volume.
struct SourceRow {
    const float *voxels, *before, *after;
};

template <int B>
SourceRow source_row(const RowTileInput& input, std::int64_t block, std::int64_t z, std::int64_t y, std::int64_t x,
                     int voxels) {
    if (y < 0 || y >= input.height) return {kZeros.data(), kZeros.data(), kZeros.data()};
    const float* row = input.src + (((block * input.depth + z) * input.height + y) * input.width + x) * B;
    return {row, x > 0 ? row - B : kZeros.data(), x + voxels < input.width ? row + voxels * B : kZeros.data()};
}

template <int B, int kRows, int kVoxels>
IWSEG_AVX512 void tile(const RowTileInput& input, const RowTilePlace& place, float* sums) {
    using V = Vector<B>;
    V total[kRows][kVoxels] = {};
    for (std::int64_t block = 0; block < input.blocks; ++block)
        for (int kd = 0; kd < 3; ++kd) {
            const std::int64_t z = place.z + kd - 1;
            if (z < 0 || z >= input.depth) continue;
            for (int kh = 0; kh < 3; ++kh) {
                const std::int64_t y = place.y + kh - 1;
                if (kRows == 1 && (y < 0 || y >= input.height)) continue;
                SourceRow rows[kRows];
                for (int r = 0; r < kRows; ++r) rows[r] = source_row<B>(input, block, z, y + r, place.x, kVoxels);
                const float* weights = input.weights + ((block * 3 + kd) * 3 + kh) * B * 3 * B;
                for (int c = 0; c < B; ++c, weights += 3 * B) {
                    V left, middle,
                        right;  // what a source voxel adds to the sums of the voxels after it, at it, before it
                    std::memcpy(&left, weights, sizeof(V));
                    std::memcpy(&middle, weights + B, sizeof(V));
                    std::memcpy(&right, weights + 2 * B, sizeof(V));
#pragma GCC unroll 3
                    for (int r = 0; r < kRows; ++r) {
                        total[r][0] += rows[r].before[c] * left;
#pragma GCC unroll 26
                        for (int v = 0; v < kVoxels; ++v) {
                            const float number = rows[r].voxels[v * B + c];
                            if (v > 0) total[r][v - 1] += number * right;
                            total[r][v] += number * middle;
                            if (v + 1 < kVoxels) total[r][v + 1] += number * left;
                        }
                        total[r][kVoxels - 1] += rows[r].after[c] * right;
                    }
                }
            }
        }
    std::memcpy(sums, total, sizeof(total));
}

template <int B, int kRows, int... kIndex>
constexpr std::array<RowTile, sizeof...(kIndex)> tiles(std::integer_sequence<int, kIndex...>) {
    return {tile<B, kRows, kIndex + 1>...};
}

/// Tiles of one to three rows, with the sums that fit into 32 registers beside weights and a number of the source.
template <int B>
RowTile tile_of(RowTileSize size) {
    static constexpr auto one = tiles<B, 1>(std::make_integer_sequence<int, 26>());
    static constexpr auto two = tiles<B, 2>(std::make_integer_sequence<int, 13>());
    static constexpr auto three = tiles<B, 3>(std::make_integer_sequence<int, 8>());
    switch (size.rows) {
        case 1:
            return one.at(size.voxels - 1);
        case 2:
            return two.at(size.voxels - 1);
        default:
            return three.at(size.voxels - 1);
    }
}

}  // namespace

RowTileSize largest_row_tile(std::int64_t width) {
    return width > 13 ? RowTileSize{1, 26} : width > 8 ? RowTileSize{2, 13} : RowTileSize{3, 8};
}

RowTile row_tile(std::int64_t block, RowTileSize size) {
    return block == 8 ? tile_of<8>(size) : tile_of<16>(size);
}

bool row_tiles_work() {
    return may_use(InstructionSet::avx512);
}

#else

RowTileSize largest_row_tile(std::int64_t) {
    return {1, 1};
}
RowTile row_tile(std::int64_t, RowTileSize) {
    throw std::logic_error("row_tile: not on this processor");
}
bool row_tiles_work() {
    return false;
}

#endif

}  // namespace iwseg::cpu
