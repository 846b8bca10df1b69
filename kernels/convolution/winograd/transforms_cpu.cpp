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
template <class E>
struct FourRows {
    const E* row[4];
    std::int64_t step[4];
};

alignas(64) constexpr float kNoRow[16] = {};

template <int L, class E>
[[gnu::always_inline]] inline void transform_column(const FourRows<E>& rows, std::int64_t x, std::int64_t width,
                                                    Vector<L> (&to)[4]) {
    Vector<L> of[4] = {};
    if (x >= 0 && x < width)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) load_vector<L>(rows.row[i] + x * rows.step[i], of[i]);
    transform_four<L>(of, to);
}

template <int L>
[[gnu::always_inline]] inline void store_operand(float* to, const Vector<L>& from) {
    store_vector<L>(to, from);
}
/// Rounded to nearest, ties to even. A sum of bf16 that is NaN has the fraction's lower half 0, so that nothing is
/// carried.
template <int L>
[[gnu::always_inline]] inline void store_operand(Bf16* to, const Vector<L>& from) {
    using Bits = typename VectorBits<L>::Type;
    using Halves = typename LyingHalves<L>::Type;
    const Bits bits = reinterpret_cast<Bits>(from);
    *reinterpret_cast<Halves*>(to) = __builtin_convertvector((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16, Halves);
}

/// Columns are transformed once for both tiles that they are in.
template <int L, class E, class Operand>
[[gnu::always_inline]] inline void source_body(const void* plane, const WinogradTiles& tiles, void* operands,
                                               std::int64_t position) {
    using V = Vector<L>;
    auto* to = static_cast<Operand*>(operands);
    for (std::int64_t r = 0; r < tiles.rows; ++r) {
        FourRows<E> rows;
        for (int i = 0; i < 4; ++i) {
            const std::int64_t y = 2 * (tiles.first_row + r) - 1 + i;
            const bool inside = y >= 0 && y < tiles.height;
            rows.row[i] =
                inside ? static_cast<const E*>(plane) + y * tiles.width * L : reinterpret_cast<const E*>(kNoRow);
            rows.step[i] = inside ? L : 0;
        }
        V column[4][4];
        const std::int64_t first = 2 * tiles.first_column - 1;
        transform_column<L, E>(rows, first, tiles.width, column[0]);
        transform_column<L, E>(rows, first + 1, tiles.width, column[1]);
        for (std::int64_t c = 0; c < tiles.columns; ++c, to += L) {
            const std::int64_t x = first + 2 * c;
            transform_column<L, E>(rows, x + 2, tiles.width, column[2]);
            transform_column<L, E>(rows, x + 3, tiles.width, column[3]);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                const V row[4] = {column[0][i], column[1][i], column[2][i], column[3][i]};
                V all[4];
                transform_four<L>(row, all);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) store_operand<L>(to + (4 * i + j) * position, all[j]);
                column[0][i] = column[2][i];
                column[1][i] = column[3][i];
            }
        }
    }
}

template <int L, class E>
[[gnu::always_inline]] inline void result_body(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                               const WinogradFinish& finish, void* plane) {
    using V = Vector<L>;
    E *const results = static_cast<E*>(plane), *const beside = static_cast<E*>(finish.beside);
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
                const std::int64_t at = ((y + i) * tiles.width + x) * L;
                V pair[2] = {half[i][0] + half[i][1] + half[i][2], half[i][1] - half[i][2] - half[i][3]};
#pragma GCC unroll 2
                for (int j = 0; j < 2; ++j) {
                    if (j >= voxels) break;
                    V value = reinterpret_cast<V>(reinterpret_cast<Mask>(pair[j] + bias) & kept);
                    E* to = results + at + j * L;
                    if (finish.accumulate) {
                        V before;
                        load_vector<L>(to, before);
                        value += before;
                    }
                    if (finish.scale) {
                        if (beside) {
                            store_vector<L>(to, value);
                            to = beside + at + j * L;
                        }
                        value = value * scale + shift;
                        const V low = reinterpret_cast<V>(reinterpret_cast<Mask>(value * finish.slope) & leaks);
                        value = value < V{} ? low : value;
                    }
                    store_vector<L>(to, value);
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

template <int L, class E>
[[gnu::always_inline]] inline void y_body(const void* plane, const WinogradTiles& tiles, float* to,
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
                        load_vector<L>(static_cast<const E*>(plane) + ((y + i) * tiles.width + x + j) * L, of[i]);
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
[[gnu::always_inline]] inline void weight_body(const float* weights, Vector<L> (&to)[4][4]) {
    using V = Vector<L>;
    V columns[3][4];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
        V of[3];
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) load_vector<L>(weights + (3 * i + j) * L, of[i]);
        transform_three<L>(of, columns[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        const V row[3] = {columns[0][i], columns[1][i], columns[2][i]};
        transform_three<L>(row, to[i]);
    }
}
template <int L>
[[gnu::always_inline]] inline void weights_to_f32(const float* weights, float* to, std::int64_t position) {
    Vector<L> all[4][4];
    weight_body<L>(weights, all);
#pragma GCC unroll 16
    for (int i = 0; i < kWinogradPositions; ++i) store_vector<L>(to + i * position, all[i / 4][i % 4]);
}
template <int L>
[[gnu::always_inline]] inline void weights_to_pairs(const float* weights, const float* next, Bf16* to,
                                                    std::int64_t position) {
    Vector<L> all[2][4][4];
    weight_body<L>(weights, all[0]);
    weight_body<L>(next, all[1]);
    for (int i = 0; i < kWinogradPositions; ++i)
        for (int l = 0; l < L; ++l)
            for (int k = 0; k < 2; ++k) store(to[i * position + 2 * l + k], all[k][i / 4][i % 4][l]);
}

template <class E>
IWSEG_FOR_EIGHT void source_of_eight(const void* plane, const WinogradTiles& tiles, void* to, std::int64_t position) {
    source_body<8, E, float>(plane, tiles, to, position);
}
template <class E>
IWSEG_FOR_EIGHT void result_of_eight(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                     const WinogradFinish& finish, void* plane) {
    result_body<8, E>(sums, position, tiles, finish, plane);
}
template <class E>
IWSEG_FOR_EIGHT void y_of_eight(const void* plane, const WinogradTiles& tiles, float* to, std::int64_t position) {
    y_body<8, E>(plane, tiles, to, position);
}
IWSEG_FOR_EIGHT void weights_of_eight(const float* weights, const float*, void* to, std::int64_t position) {
    weights_to_f32<8>(weights, static_cast<float*>(to), position);
}
template <class E>
constexpr WinogradTransforms kOfEight = {source_of_eight<E>, result_of_eight<E>, y_of_eight<E>, weights_of_eight};

#if IWSEG_TAPS_ON_X86
template <int L, class E, class Operand>
IWSEG_FOR_AVX512 void source_avx512(const void* plane, const WinogradTiles& tiles, void* to, std::int64_t position) {
    source_body<L, E, Operand>(plane, tiles, to, position);
}
template <int L, class E>
IWSEG_FOR_AVX512 void result_avx512(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                    const WinogradFinish& finish, void* plane) {
    result_body<L, E>(sums, position, tiles, finish, plane);
}
template <int L, class E>
IWSEG_FOR_AVX512 void y_avx512(const void* plane, const WinogradTiles& tiles, float* to, std::int64_t position) {
    y_body<L, E>(plane, tiles, to, position);
}
template <int L>
IWSEG_FOR_AVX512 void weights_avx512(const float* weights, const float*, void* to, std::int64_t position) {
    weights_to_f32<L>(weights, static_cast<float*>(to), position);
}
IWSEG_FOR_AVX512 void weight_pairs(const float* weights, const float* next, void* to, std::int64_t position) {
    weights_to_pairs<16>(weights, next, static_cast<Bf16*>(to), position);
}
template <int L, class E>
constexpr WinogradTransforms kAvx512 = {source_avx512<L, E, float>, result_avx512<L, E>, y_avx512<L, E>,
                                        weights_avx512<L>};
constexpr WinogradTransforms kPairs = {source_avx512<16, Bf16, Bf16>, result_avx512<16, Bf16>, y_avx512<16, Bf16>,
                                       weight_pairs};
#endif

}  // namespace

WinogradTransforms winograd_transforms(Vectors vectors, std::int64_t block, Type type, Type operands) {
    const bool halves = type == Type::bf16;
    if (operands == Type::f32 && vectors == Vectors::eight && block == 8)
        return halves ? kOfEight<Bf16> : kOfEight<float>;
#if IWSEG_TAPS_ON_X86
    if (operands == Type::bf16 && halves && vectors == Vectors::avx512 && block == 16) return kPairs;
    if (vectors == Vectors::avx512 && block == 8) return halves ? kAvx512<8, Bf16> : kAvx512<8, float>;
    if (vectors == Vectors::avx512 && block == 16) return halves ? kAvx512<16, Bf16> : kAvx512<16, float>;
#endif
    throw std::invalid_argument("winograd_transforms: no such vectors");
}

#else

WinogradTransforms winograd_transforms(Vectors, std::int64_t, Type, Type) {
    throw std::logic_error("winograd_transforms: not on this processor");
}

#endif

}  // namespace iwseg::cpu
