#include "kernels/resample/window_sum.h"

#include <vector>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

// A window's rows are added up first, over the whole width, then the columns: loops that compile to vectors.

template <class T>
IWSEG_VECTOR_CLONES void add_row(const T* row, std::int64_t count, float* sums) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += to_f32(row[i]);
}

template <int B, class T, bool kAdd>
IWSEG_VECTOR_CLONES void join_columns(const float* sums, std::int64_t width, int columns, float scale, T* to) {
    for (std::int64_t w = 0; w < width; ++w) {
        float sum[B] = {};
        for (int k = 0; k < columns; ++k)
            for (int b = 0; b < B; ++b) sum[b] += sums[(w * columns + k) * B + b];
        for (int b = 0; b < B; ++b) {
            const float value = scale * sum[b];
            store(to[w * B + b], kAdd ? to_f32(to[w * B + b]) + value : value);
        }
    }
}

template <int B, class T, bool kAdd>
IWSEG_VECTOR_CLONES void spread_row(const T* from, std::int64_t width, int columns, float scale, T* to) {
    for (std::int64_t w = 0; w < width; ++w)
        for (int k = 0; k < columns; ++k)
            for (int b = 0; b < B; ++b) {
                const std::int64_t at = (w * columns + k) * B + b;
                const float value = scale * to_f32(from[w * B + b]);
                store(to[at], kAdd ? to_f32(to[at]) + value : value);
            }
}

}  // namespace

void sum_windows(Stream stream, View big, float scale, View small, Write write) {
    const Sides window = window_between(big, small, "sum_windows");
    const Blocks blocks(small);
    const Shape &few = small.shape, &many = big.shape;
    with_real(big.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const auto join = write == Write::accumulate ? join_columns<B, T, true> : join_columns<B, T, false>;
            parallel_ranges(stream, blocks.rows() * few.d * few.h, [&](std::int64_t first, std::int64_t last) {
                std::vector<float> sums(static_cast<std::size_t>(many.w * B));
                for (std::int64_t i = first; i < last; ++i) {
                    const std::int64_t h = i % few.h * window.h, d = i / few.h % few.d * window.d;
                    const T* volume = big.as<const T>() + i / few.h / few.d * many.voxels() * B;
                    std::fill(sums.begin(), sums.end(), 0.0f);
                    for (int z = 0; z < window.d; ++z)
                        for (int v = 0; v < window.h; ++v)
                            add_row(volume + ((d + z) * many.h + h + v) * many.w * B, many.w * B, sums.data());
                    join(sums.data(), few.w, window.w, scale, small.as<T>() + i * few.w * B);
                }
            });
        });
    });
}

void spread_windows(Stream stream, View small, float scale, View big, Write write) {
    const Sides window = window_between(big, small, "spread_windows");
    const Blocks blocks(big);
    const Shape &few = small.shape, &many = big.shape;
    with_real(big.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const auto spread = write == Write::accumulate ? spread_row<B, T, true> : spread_row<B, T, false>;
            parallel_for(stream, blocks.rows() * many.d * many.h, [&](std::int64_t i) {
                const std::int64_t h = i % many.h / window.h, d = i / many.h % many.d / window.d;
                const std::int64_t row = (i / many.h / many.d * few.d + d) * few.h + h;
                spread(small.as<const T>() + row * few.w * B, few.w, window.w, scale, big.as<T>() + i * many.w * B);
            });
        });
    });
}

}  // namespace iwseg::cpu
