#include "kernels/resample/max_pool.h"

#include <vector>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

// A window's largest number is sought along depth and height first, over whole rows of elements, then among its
// columns: loops that compile to vectors, where one over a window's eight voxels does not.

/// A NaN wins, as in PyTorch: a broken activation must not vanish. Without a branch, so that loops become vectors.
inline bool wins(float value, float largest) {
    return static_cast<bool>((value > largest) | (value != value));
}

/// Of each column the largest number, and, where that is asked for, the first row of the four that has it.
template <bool kPlaces, class T>
IWSEG_VECTOR_CLONES void largest_of_four(const T* const rows[4], std::int64_t elements, float* largest,
                                         std::int32_t* place) {
    const T *first = rows[0], *second = rows[1], *third = rows[2], *fourth = rows[3];
    for (std::int64_t i = 0; i < elements; ++i) {
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

/// The same of any rows, one after the other: row number r of a window.
template <class T>
IWSEG_VECTOR_CLONES void take_larger(const T* row, std::int32_t r, std::int64_t elements, float* largest,
                                     std::int32_t* place) {
    for (std::int64_t i = 0; i < elements; ++i) {
        const float value = to_f32(row[i]);
        const bool take = (r == 0) | wins(value, largest[i]);
        largest[i] = take ? value : largest[i];
        place[i] = take ? r : place[i];
    }
}

/// Loops over the B channels are the innermost: those become vectors.
template <int B, int kColumns, class T>
IWSEG_VECTOR_CLONES void join_columns(const float* largest, std::int64_t width, T* y) {
    if constexpr (kColumns == 2) {
        for (std::int64_t w = 0; w < width; ++w)
            for (int b = 0; b < B; ++b) {
                const float left = largest[2 * w * B + b], right = largest[(2 * w + 1) * B + b];
                store(y[w * B + b], wins(right, left) ? right : left);
            }
    } else {
        for (std::int64_t w = 0; w < width; ++w) {
            float most[B];
            for (int b = 0; b < B; ++b) most[b] = largest[kColumns * w * B + b];
            for (int k = 1; k < kColumns; ++k)
                for (int b = 0; b < B; ++b) {
                    const float right = largest[(kColumns * w + k) * B + b];
                    most[b] = wins(right, most[b]) ? right : most[b];
                }
            for (int b = 0; b < B; ++b) store(y[w * B + b], most[b]);
        }
    }
}

/// Leaves in `gradient` what each column's largest number gets, with 0 for a column that is not the window's.
template <int B, int kColumns, class T>
IWSEG_VECTOR_CLONES void part_gradient(const float* largest, const std::int32_t* place, const T* diff_y,
                                       std::int64_t width, float* gradient) {
    if constexpr (kColumns == 2) {
        for (std::int64_t w = 0; w < width; ++w)
            for (int b = 0; b < B; ++b) {
                const std::int64_t i = 2 * w * B + b, j = i + B;
                const float left = largest[i], right = largest[j], g = to_f32(diff_y[w * B + b]);
                // Of equal elements the first in raster order gets it, of several NaNs the last.
                const bool left_nan = left != left, right_nan = right != right;
                const bool over = (right > left) | ((right == left) & (place[j] < place[i]));
                const bool take = (over & !left_nan) | (right_nan & (!left_nan | (place[j] >= place[i])));
                gradient[i] = take ? 0.0f : g;
                gradient[j] = take ? g : 0.0f;
            }
        return;
    }
    for (std::int64_t w = 0; w < width; ++w)
        for (int b = 0; b < B; ++b) {
            const std::int64_t first = kColumns * w * B + b;
            float most = largest[first];
            std::int32_t row = place[first], column = 0;
            for (std::int32_t k = 1; k < kColumns; ++k) {
                const float right = largest[first + k * B];
                const std::int32_t right_row = place[first + k * B];
                // Of equal elements the first in raster order gets it, of several NaNs the last.
                const bool most_nan = most != most, right_nan = right != right;
                const bool over = (right > most) | ((right == most) & (right_row < row));
                const bool take = (over & !most_nan) | (right_nan & (!most_nan | (right_row >= row)));
                most = take ? right : most;
                row = take ? right_row : row;
                column = take ? k : column;
            }
            const float g = to_f32(diff_y[w * B + b]);
            for (std::int32_t k = 0; k < kColumns; ++k) gradient[first + k * B] = column == k ? g : 0.0f;
        }
}

template <class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void give_gradient(const float* gradient, const std::int32_t* place, std::int32_t row,
                                       std::int64_t elements, T* diff_x) {
    for (std::int64_t i = 0; i < elements; ++i) {
        const float d = place[i] == row ? gradient[i] : 0.0f;
        store(diff_x[i], kAccumulate ? to_f32(diff_x[i]) + d : d);
    }
}

/// Where a row of windows begins: the first number of each of its rows in x, and of its row in y.
struct WindowRow {
    std::int64_t x[9], y;

    WindowRow(const Shape& big, const Shape& small, const Sides& window, std::int64_t block, std::int64_t i) {
        const std::int64_t h = i % small.h * window.h, d = i / small.h % small.d * window.d;
        const std::int64_t volume = i / small.h / small.d * big.d;
        for (int z = 0; z < window.d; ++z)
            for (int v = 0; v < window.h; ++v) x[z * window.h + v] = ((volume + d + z) * big.h + h + v) * big.w * block;
        y = i * small.w * block;
    }
};

/// Of each column of a row of windows the largest number and its row.
template <bool kPlaces, class T>
void largest_of_rows(const T* from, const WindowRow& at, int rows, std::int64_t elements, float* largest,
                     std::int32_t* place) {
    if (rows == 4) {
        const T* const four[] = {from + at.x[0], from + at.x[1], from + at.x[2], from + at.x[3]};
        return largest_of_four<kPlaces>(four, elements, largest, place);
    }
    for (int r = 0; r < rows; ++r) take_larger(from + at.x[r], r, elements, largest, place);
}

/// Calls body(std::integral_constant<int, columns>).
template <class Body>
void with_columns(int columns, Body&& body) {
    if (columns == 1) return body(std::integral_constant<int, 1>{});
    if (columns == 2) return body(std::integral_constant<int, 2>{});
    return body(std::integral_constant<int, 3>{});
}

/// Calls body(T{}, block, columns).
template <class Body>
void with_kinds(const View& x, const Sides& window, Body&& body) {
    with_real(x.type, [&](auto real) {
        with_block(Blocks(x).block,
                   [&](auto block) { with_columns(window.w, [&](auto columns) { body(real, block, columns); }); });
    });
}

}  // namespace

void max_pool(Stream stream, View x, View y) {
    const Sides window = pool_window(x, y);
    const Blocks blocks(x);
    const std::int64_t elements = x.shape.w * blocks.block, windows = blocks.rows() * y.shape.d * y.shape.h;
    with_kinds(x, window, [&](auto real, auto block, auto columns) {
        using T = decltype(real);
        parallel_ranges(stream, windows, [&](std::int64_t first, std::int64_t last) {
            std::vector<float> largest(static_cast<std::size_t>(elements));
            std::vector<std::int32_t> place(static_cast<std::size_t>(elements));
            for (std::int64_t i = first; i < last; ++i) {
                const WindowRow at(x.shape, y.shape, window, block, i);
                largest_of_rows<false>(x.as<const T>(), at, window.d * window.h, elements, largest.data(),
                                       place.data());
                join_columns<block, columns>(largest.data(), y.shape.w, y.as<T>() + at.y);
            }
        });
    });
}

void max_pool_backward(Stream stream, View x, View diff_y, View diff_x, Write write) {
    const Sides window = pool_window(x, diff_y);
    require_same_form(x, diff_x, "max_pool_backward");
    const Blocks blocks(x);
    const std::int64_t elements = x.shape.w * blocks.block, windows = blocks.rows() * diff_y.shape.d * diff_y.shape.h;
    with_kinds(x, window, [&](auto real, auto block, auto columns) {
        using T = decltype(real);
        const auto give = write == Write::overwrite ? give_gradient<T, false> : give_gradient<T, true>;
        parallel_ranges(stream, windows, [&](std::int64_t first, std::int64_t last) {
            const auto size = static_cast<std::size_t>(elements);
            std::vector<float> largest(size), gradient(size);
            std::vector<std::int32_t> place(size);
            for (std::int64_t i = first; i < last; ++i) {
                const WindowRow at(x.shape, diff_y.shape, window, block, i);
                const std::int32_t rows = window.d * window.h;
                largest_of_rows<true>(x.as<const T>(), at, rows, elements, largest.data(), place.data());
                part_gradient<block, columns>(largest.data(), place.data(), diff_y.as<const T>() + at.y, diff_y.shape.w,
                                              gradient.data());
                for (std::int32_t r = 0; r < rows; ++r)
                    give(gradient.data(), place.data(), r, elements, diff_x.as<T>() + at.x[r]);
            }
        });
    });
}

}  // namespace iwseg::cpu
