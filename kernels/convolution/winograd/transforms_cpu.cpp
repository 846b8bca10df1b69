#include "kernels/convolution/winograd/transforms.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/convolution/taps/lying_vector.h"

namespace iwseg::cpu {

#if IWSEG_TAPS_OF_EIGHT
namespace {

template <int L>
using VoxelOf = typename LyingVector<L>::Type;

template <int L>
struct LyingMask {
    typedef std::int32_t Type __attribute__((vector_size(L * sizeof(float)), aligned(4), may_alias));
};

/// B' of a column of four.
template <int L>
[[gnu::always_inline]] inline void transform_four(const Vector<L> (&d)[4], Vector<L> (&to)[4]) {
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[1] - d[3];
}

/// Four rows of the source; one outside of the plane is a vector of zeros that is not moved along.
struct FourRows {
    const float* row[4];
    std::int64_t step[4];
};

alignas(64) constexpr float kNoRow[16] = {};

template <int L>
[[gnu::always_inline]] inline void transform_column(const FourRows& rows, std::int64_t x, std::int64_t width,
                                                    Vector<L> (&to)[4]) {
    Vector<L> of[4] = {};
    if (x >= 0 && x < width)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) of[i] = *reinterpret_cast<const VoxelOf<L>*>(rows.row[i] + x * rows.step[i]);
    transform_four<L>(of, to);
}

/// Columns are transformed once for both tiles that they are in.
template <int L>
[[gnu::always_inline]] inline void source_body(const float* plane, const WinogradTiles& tiles, float* to,
                                               std::int64_t position) {
    using V = Vector<L>;
    for (std::int64_t r = 0; r < tiles.rows; ++r) {
        FourRows rows;
        for (int i = 0; i < 4; ++i) {
            const std::int64_t y = 2 * (tiles.first_row + r) - 1 + i;
            const bool inside = y >= 0 && y < tiles.height;
            rows.row[i] = inside ? plane + y * tiles.width * L : kNoRow;
            rows.step[i] = inside ? L : 0;
        }
        V column[4][4];
        const std::int64_t first = 2 * tiles.first_column - 1;
        transform_column<L>(rows, first, tiles.width, column[0]);
        transform_column<L>(rows, first + 1, tiles.width, column[1]);
        for (std::int64_t c = 0; c < tiles.columns; ++c, to += L) {
            const std::int64_t x = first + 2 * c;
            transform_column<L>(rows, x + 2, tiles.width, column[2]);
            transform_column<L>(rows, x + 3, tiles.width, column[3]);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                const V row[4] = {column[0][i], column[1][i], column[2][i], column[3][i]};
                V all[4];
                transform_four<L>(row, all);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) *reinterpret_cast<VoxelOf<L>*>(to + (4 * i + j) * position) = all[j];
                column[0][i] = column[2][i];
                column[1][i] = column[3][i];
            }
        }
    }
}

template <int L>
[[gnu::always_inline]] inline void result_body(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                               const WinogradFinish& finish, float* plane) {
    using V = Vector<L>;
    using Mask = typename LyingMask<L>::Type;
    const V bias = *reinterpret_cast<const VoxelOf<L>*>(finish.bias);
    const Mask kept = *reinterpret_cast<const Mask*>(finish.kept);
    const V scale = finish.scale ? V(*reinterpret_cast<const VoxelOf<L>*>(finish.scale)) : V{};
    const V shift = finish.scale ? V(*reinterpret_cast<const VoxelOf<L>*>(finish.shift)) : V{};
    const Mask leaks = Mask{} - (finish.slope > 0.0f ? 1 : 0);  // else what is below 0 becomes 0, infinity too
    for (std::int64_t r = 0; r < tiles.rows; ++r) {
        const std::int64_t y = 2 * (tiles.first_row + r), rows = std::min<std::int64_t>(2, tiles.height - y);
        for (std::int64_t c = 0; c < tiles.columns; ++c, sums += L) {
            const std::int64_t x = 2 * (tiles.first_column + c), voxels = std::min<std::int64_t>(2, tiles.width - x);
            V half[2][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                V of[4];
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) of[i] = *reinterpret_cast<const VoxelOf<L>*>(sums + (4 * i + j) * position);
                half[0][j] = of[0] + of[1] + of[2];
                half[1][j] = of[1] - of[2] - of[3];
            }
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                if (i >= rows) break;
                float* const at = plane + ((y + i) * tiles.width + x) * L;
                V pair[2] = {half[i][0] + half[i][1] + half[i][2], half[i][1] - half[i][2] - half[i][3]};
#pragma GCC unroll 2
                for (int j = 0; j < 2; ++j) {
                    if (j >= voxels) break;
                    V value = reinterpret_cast<V>(reinterpret_cast<Mask>(pair[j] + bias) & kept);
                    if (finish.accumulate) value += *reinterpret_cast<const VoxelOf<L>*>(at + j * L);
                    float* to = at + j * L;
                    if (finish.scale) {
                        if (finish.beside) {
                            *reinterpret_cast<VoxelOf<L>*>(to) = value;
                            to = finish.beside + (to - plane);
                        }
                        value = value * scale + shift;
                        const V low = reinterpret_cast<V>(reinterpret_cast<Mask>(value * finish.slope) & leaks);
                        value = value < V{} ? low : value;
                    }
                    *reinterpret_cast<VoxelOf<L>*>(to) = value;
                }
            }
        }
    }
}

/// A of a column of two.
template <int L>
[[gnu::always_inline]] inline void transform_two(const Vector<L> (&y)[2], Vector<L> (&to)[4]) {
    to[0] = y[0];
    to[1] = y[0] + y[1];
    to[2] = y[0] - y[1];
    to[3] = -y[1];
}

template <int L>
[[gnu::always_inline]] inline void y_body(const float* plane, const WinogradTiles& tiles, float* to,
                                          std::int64_t position) {
    using V = Vector<L>;
    for (std::int64_t r = 0; r < tiles.rows; ++r) {
        const std::int64_t y = 2 * (tiles.first_row + r), rows = std::min<std::int64_t>(2, tiles.height - y);
        for (std::int64_t c = 0; c < tiles.columns; ++c, to += L) {
            const std::int64_t x = 2 * (tiles.first_column + c), voxels = std::min<std::int64_t>(2, tiles.width - x);
            V columns[2][4];
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) {
                V of[2] = {};
#pragma GCC unroll 2
                for (int i = 0; i < 2; ++i)
                    if (i < rows && j < voxels)
                        of[i] = *reinterpret_cast<const VoxelOf<L>*>(plane + ((y + i) * tiles.width + x + j) * L);
                transform_two<L>(of, columns[j]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                const V row[2] = {columns[0][i], columns[1][i]};
                V all[4];
                transform_two<L>(row, all);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) *reinterpret_cast<VoxelOf<L>*>(to + (4 * i + j) * position) = all[j];
            }
        }
    }
}

/// G of a column of three.
template <int L>
[[gnu::always_inline]] inline void transform_three(const Vector<L> (&g)[3], Vector<L> (&to)[4]) {
    using V = Vector<L>;
    const V ends = (g[0] + g[2]) * 0.5f, middle = g[1] * 0.5f;
    to[0] = g[0];
    to[1] = ends + middle;
    to[2] = ends - middle;
    to[3] = g[2];
}

template <int L>
[[gnu::always_inline]] inline void weight_body(const float* weights, float* to, std::int64_t position) {
    using V = Vector<L>;
    V columns[3][4];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
        V of[3];
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) of[i] = *reinterpret_cast<const VoxelOf<L>*>(weights + (3 * i + j) * L);
        transform_three<L>(of, columns[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        const V row[3] = {columns[0][i], columns[1][i], columns[2][i]};
        V all[4];
        transform_three<L>(row, all);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) *reinterpret_cast<VoxelOf<L>*>(to + (4 * i + j) * position) = all[j];
    }
}

IWSEG_FOR_EIGHT void source_of_eight(const float* plane, const WinogradTiles& tiles, float* to, std::int64_t position) {
    source_body<8>(plane, tiles, to, position);
}
IWSEG_FOR_EIGHT void result_of_eight(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                     const WinogradFinish& finish, float* plane) {
    result_body<8>(sums, position, tiles, finish, plane);
}
IWSEG_FOR_EIGHT void y_of_eight(const float* plane, const WinogradTiles& tiles, float* to, std::int64_t position) {
    y_body<8>(plane, tiles, to, position);
}
IWSEG_FOR_EIGHT void weights_of_eight(const float* weights, float* to, std::int64_t position) {
    weight_body<8>(weights, to, position);
}

#if IWSEG_TAPS_ON_X86
template <int L>
IWSEG_FOR_AVX512 void source_avx512(const float* plane, const WinogradTiles& tiles, float* to, std::int64_t position) {
    source_body<L>(plane, tiles, to, position);
}
template <int L>
IWSEG_FOR_AVX512 void result_avx512(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                    const WinogradFinish& finish, float* plane) {
    result_body<L>(sums, position, tiles, finish, plane);
}
template <int L>
IWSEG_FOR_AVX512 void y_avx512(const float* plane, const WinogradTiles& tiles, float* to, std::int64_t position) {
    y_body<L>(plane, tiles, to, position);
}
template <int L>
IWSEG_FOR_AVX512 void weights_avx512(const float* weights, float* to, std::int64_t position) {
    weight_body<L>(weights, to, position);
}
#endif

}  // namespace

WinogradTransforms winograd_transforms(Vectors vectors, std::int64_t block) {
    if (vectors == Vectors::eight && block == 8)
        return {source_of_eight, result_of_eight, y_of_eight, weights_of_eight};
#if IWSEG_TAPS_ON_X86
    if (vectors == Vectors::avx512 && block == 8)
        return {source_avx512<8>, result_avx512<8>, y_avx512<8>, weights_avx512<8>};
    if (vectors == Vectors::avx512 && block == 16)
        return {source_avx512<16>, result_avx512<16>, y_avx512<16>, weights_avx512<16>};
#endif
    throw std::invalid_argument("winograd_transforms: no such vectors");
}

#else

WinogradTransforms winograd_transforms(Vectors, std::int64_t) {
    throw std::logic_error("winograd_transforms: not on this processor");
}

#endif

}  // namespace iwseg::cpu
