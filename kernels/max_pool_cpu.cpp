#include "kernels/max_pool.h"

#include "kernels/cpu_blocks.h"
#include "kernels/vector_clones.h"

namespace iwseg::cpu {
namespace {

/// Offsets, in numbers, of a window's eight voxels from its first, in raster order.
struct Window {
    std::int64_t offset[8];

    Window(const Shape& shape, std::int64_t block) {
        for (int i = 0; i < 8; ++i)
            offset[i] = (((i >> 2) * shape.h + (i >> 1 & 1)) * shape.w + (i & 1)) * block;
    }
};

template <int B, class T>
IWSEG_VECTOR_CLONES void pool_row(const T* x, const Window& window, std::int64_t width, T* y) {
    for (std::int64_t w = 0; w < width; ++w)
        for (int b = 0; b < B; ++b) {
            const T* at = x + w * 2 * B + b;
            float largest = to_f32(*at);
            for (int i = 1; i < 8; ++i) {
                const float value = to_f32(at[window.offset[i]]);
                // A NaN wins, as in PyTorch: a broken activation must not vanish.
                largest = value > largest || value != value ? value : largest;
            }
            store(y[w * B + b], largest);
        }
}

template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void pool_row_backward(const T* x, const T* diff_y, const Window& window, std::int64_t width,
                                           T* diff_x) {
    for (std::int64_t w = 0; w < width; ++w)
        for (int b = 0; b < B; ++b) {
            const T* at = x + w * 2 * B + b;
            T* to = diff_x + w * 2 * B + b;
            float largest = to_f32(*at);
            int place = 0;
            for (int i = 1; i < 8; ++i) {
                const float value = to_f32(at[window.offset[i]]);
                const bool take = value > largest || value != value;
                largest = take ? value : largest;
                place = take ? i : place;
            }
            const float gradient = to_f32(diff_y[w * B + b]);
            for (int i = 0; i < 8; ++i) {
                const float d = place == i ? gradient : 0.0f;
                T& target = to[window.offset[i]];
                store(target, kAccumulate ? to_f32(target) + d : d);
            }
        }
}

void require_halves(const View& x, const View& y) {
    const Shape half{x.shape.n, x.shape.c, x.shape.d / 2, x.shape.h / 2, x.shape.w / 2};
    if (!(y.shape == half) || x.shape.d % 2 || x.shape.h % 2 || x.shape.w % 2 || x.layout != y.layout)
        throw std::invalid_argument("max_pool: the result is half the size of an input of even sides, in its layout");
}

/// Runs body(offset in x, offset in y) for each row of windows, in parallel.
template <class Body>
void over_rows(const View& x, const View& y, Body&& body) {
    const Blocks blocks(x);
    const Shape& big = x.shape;
    const Shape& small = y.shape;
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < blocks.rows() * small.d * small.h; ++i) {
        const std::int64_t h = i % small.h, d = i / small.h % small.d, row = i / small.h / small.d;
        body(((row * big.d + 2 * d) * big.h + 2 * h) * big.w * blocks.block, i * small.w * blocks.block);
    }
}

}  // namespace

void max_pool(Stream, View x, View y) {
    require_halves(x, y);
    with_real(x.type, [&](auto real) {
        with_block(block_of(x.layout, x.shape.c), [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const Window window(x.shape, B);
            over_rows(x, y, [&](std::int64_t from, std::int64_t to) {
                pool_row<B>(x.as<const T>() + from, window, y.shape.w, y.as<T>() + to);
            });
        });
    });
}

void max_pool_backward(Stream, View x, View diff_y, View diff_x, Write write) {
    require_halves(x, diff_y);
    require_same(x, diff_x, "max_pool_backward");
    with_real(x.type, [&](auto real) {
        with_block(block_of(x.layout, x.shape.c), [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const Window window(x.shape, B);
            const auto run = write == Write::overwrite ? pool_row_backward<B, T, false> : pool_row_backward<B, T, true>;
            over_rows(x, diff_y, [&](std::int64_t from, std::int64_t to) {
                run(x.as<const T>() + from, diff_y.as<const T>() + to, window, diff_y.shape.w, diff_x.as<T>() + from);
            });
        });
    });
}

}  // namespace iwseg::cpu
