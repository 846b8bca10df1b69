#include "kernels/resample/max_pool.h"

#include <vector>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

// A window's largest number is sought along depth and height first, over whole rows of numbers, then among the two
// columns: loops that compile to vectors, where one over a window's eight voxels does not.

/// A NaN wins, as in PyTorch: a broken activation must not vanish. Without a branch, so that loops become vectors.
inline bool wins(float value, float largest) {
    return static_cast<bool>((value > largest) | (value != value));
}

/// Of each column the largest number, and, where that is asked for, the first row of the four that has it.
template <bool kPlaces, class T>
IWSEG_VECTOR_CLONES void largest_of_four(const T* const rows[4], std::int64_t numbers, float* largest,
                                         std::int32_t* place) {
    const T *first = rows[0], *second = rows[1], *third = rows[2], *fourth = rows[3];
    for (std::int64_t i = 0; i < numbers; ++i) {
        const float b = to_f32(second[i]), c = to_f32(third[i]), d = to_f32(fourth[i]);
        float most = to_f32(first[i]);
        std::int32_t at = wins(b, most) ? 1 : 0;
        most = at == 1 ? b : most;
        at = wins(c, most) ? 2 : at;
        most = at == 2 ? c : most;
        at = wins(d, most) ? 3 : at;
        largest[i] = at == 3 ? d : most;
        if constexpr (kPlaces) place[i] = at;
    }
}

template <int B, class T>
IWSEG_VECTOR_CLONES void join_columns(const float* largest, std::int64_t width, T* y) {
    for (std::int64_t w = 0; w < width; ++w)
        for (int b = 0; b < B; ++b) {
            const float left = largest[2 * w * B + b], right = largest[(2 * w + 1) * B + b];
            store(y[w * B + b], wins(right, left) ? right : left);
        }
}

/// Leaves in `gradient` what each column's largest number gets, with 0 for a column that is not the window's.
template <int B, class T>
IWSEG_VECTOR_CLONES void part_gradient(const float* largest, const std::int32_t* place, const T* diff_y,
                                       std::int64_t width, float* gradient) {
    for (std::int64_t w = 0; w < width; ++w)
        for (int b = 0; b < B; ++b) {
            const std::int64_t i = 2 * w * B + b, j = i + B;
            const float left = largest[i], right = largest[j], g = to_f32(diff_y[w * B + b]);
            // Of equal numbers the first in raster order gets it, of several NaNs the last.
            const bool left_nan = left != left, right_nan = right != right;
            const bool over = (right > left) | ((right == left) & (place[j] < place[i]));
            const bool take = (over & !left_nan) | (right_nan & (!left_nan | (place[j] >= place[i])));
            gradient[i] = take ? 0.0f : g;
            gradient[j] = take ? g : 0.0f;
        }
}

template <class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void give_gradient(const float* gradient, const std::int32_t* place, std::int32_t row,
                                       std::int64_t numbers, T* diff_x) {
    for (std::int64_t i = 0; i < numbers; ++i) {
        const float d = place[i] == row ? gradient[i] : 0.0f;
        store(diff_x[i], kAccumulate ? to_f32(diff_x[i]) + d : d);
    }
}

void require_halves(const View& x, const View& y) {
    const Shape half{x.shape.n, x.shape.c, x.shape.d / 2, x.shape.h / 2, x.shape.w / 2};
    if (!(y.shape == half) || x.shape.d % 2 || x.shape.h % 2 || x.shape.w % 2 || x.layout != y.layout)
        throw std::invalid_argument("max_pool: the result is half the size of an input of even sides, in its layout");
}

/// Where a row of windows begins: the first number of each of its four rows in x, and of its row in y.
struct WindowRow {
    std::int64_t x[4], y;

    WindowRow(const Shape& big, const Shape& small, std::int64_t block, std::int64_t i) {
        const std::int64_t h = i % small.h, d = i / small.h % small.d, row = i / small.h / small.d;
        for (int r = 0; r < 4; ++r) x[r] = ((row * big.d + 2 * d + (r >> 1)) * big.h + 2 * h + (r & 1)) * big.w * block;
        y = i * small.w * block;
    }
};

}  // namespace

void max_pool(Stream stream, View x, View y) {
    require_halves(x, y);
    const Blocks blocks(x);
    const std::int64_t numbers = x.shape.w * blocks.block;
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const T* from = x.as<const T>();
            parallel_ranges(stream, blocks.rows() * y.shape.d * y.shape.h, [&](std::int64_t first, std::int64_t last) {
                std::vector<float> largest(static_cast<std::size_t>(numbers));
                for (std::int64_t i = first; i < last; ++i) {
                    const WindowRow at(x.shape, y.shape, B, i);
                    const T* const rows[] = {from + at.x[0], from + at.x[1], from + at.x[2], from + at.x[3]};
                    largest_of_four<false>(rows, numbers, largest.data(), nullptr);
                    join_columns<B>(largest.data(), y.shape.w, y.as<T>() + at.y);
                }
            });
        });
    });
}

void max_pool_backward(Stream stream, View x, View diff_y, View diff_x, Write write) {
    require_halves(x, diff_y);
    require_same(x, diff_x, "max_pool_backward");
    const Blocks blocks(x);
    const std::int64_t numbers = x.shape.w * blocks.block;
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const T* from = x.as<const T>();
            const auto give = write == Write::overwrite ? give_gradient<T, false> : give_gradient<T, true>;
            const std::int64_t windows = blocks.rows() * diff_y.shape.d * diff_y.shape.h;
            parallel_ranges(stream, windows, [&](std::int64_t first, std::int64_t last) {
                const auto size = static_cast<std::size_t>(numbers);
                std::vector<float> largest(size), gradient(size);
                std::vector<std::int32_t> place(size);
                for (std::int64_t i = first; i < last; ++i) {
                    const WindowRow at(x.shape, diff_y.shape, B, i);
                    const T* const rows[] = {from + at.x[0], from + at.x[1], from + at.x[2], from + at.x[3]};
                    largest_of_four<true>(rows, numbers, largest.data(), place.data());
                    part_gradient<B>(largest.data(), place.data(), diff_y.as<const T>() + at.y, diff_y.shape.w,
                                     gradient.data());
                    for (std::int32_t r = 0; r < 4; ++r)
                        give(gradient.data(), place.data(), r, numbers, diff_x.as<T>() + at.x[r]);
                }
            });
        });
    });
}

}  // namespace iwseg::cpu
