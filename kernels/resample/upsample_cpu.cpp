#include "kernels/resample/upsample.h"

#include <vector>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

/// Along one axis: output o = (1 - far) x[near] + far x[near + step].
struct Tap {
    std::int64_t near, step;
    float far;
};

std::vector<Tap> taps_of(std::int64_t size, Corners corners) {
    std::vector<Tap> taps(static_cast<std::size_t>(2 * size));
    const float scale = size > 1 ? static_cast<float>(size - 1) / static_cast<float>(2 * size - 1) : 0.0f;
    for (std::int64_t o = 0; o < 2 * size; ++o) {
        const float place = corners == Corners::aligned ? scale * static_cast<float>(o)
                                                        : std::max(0.5f * static_cast<float>(o) - 0.25f, 0.0f);
        const auto near = std::min(static_cast<std::int64_t>(place), size - 1);
        taps[o] = {near, near + 1 < size ? 1 : 0, place - static_cast<float>(near)};
    }
    return taps;
}

/// The outputs that read one input along one axis, and how much: at most six.
struct Readers {
    std::int64_t first = 0, count = 0;
    float weight[8] = {};
};

std::vector<Readers> readers_of(std::int64_t size, Corners corners) {
    std::vector<Readers> readers(static_cast<std::size_t>(size));
    const std::vector<Tap> taps = taps_of(size, corners);
    for (std::int64_t o = 0; o < 2 * size; ++o)
        for (int side = 0; side < 2; ++side) {
            Readers& r = readers[taps[o].near + side * taps[o].step];
            if (r.count == 0) r.first = o;
            r.count = o - r.first + 1;
            r.weight[o - r.first] += side ? taps[o].far : 1.0f - taps[o].far;
        }
    return readers;
}

// Along depth and height first, whole rows at a time, then along the width: a number is multiplied by 4 weights, then
// by 2 (forward) or about 4 (backward), in place of 8 and 64.

/// The weighted sum of rows.
template <class T>
IWSEG_VECTOR_CLONES void blend_rows(const T* const rows[4], const float weights[4], std::int64_t elements,
                                    float* sums) {
    for (std::int64_t i = 0; i < elements; ++i)
        sums[i] = weights[0] * to_f32(rows[0][i]) + weights[1] * to_f32(rows[1][i]) + weights[2] * to_f32(rows[2][i]) +
                  weights[3] * to_f32(rows[3][i]);
}

template <int B, class T>
IWSEG_VECTOR_CLONES void interpolate_row(const float* row, const Tap* taps, std::int64_t width, T* y) {
    for (std::int64_t o = 0; o < width; ++o) {
        const float* near = row + taps[o].near * B;
        const float* next = near + taps[o].step * B;
        const float far = taps[o].far, rest = 1.0f - far;
        for (int b = 0; b < B; ++b) store(y[o * B + b], rest * near[b] + far * next[b]);
    }
}

template <class T>
IWSEG_VECTOR_CLONES void add_row(const T* row, float weight, std::int64_t elements, float* sums) {
    for (std::int64_t i = 0; i < elements; ++i) sums[i] += weight * to_f32(row[i]);
}

/// One input row from the sum of the output rows that read it.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void gather_row(const float* row, const Readers* readers, std::int64_t width, T* to) {
    for (std::int64_t i = 0; i < width; ++i) {
        const Readers& r = readers[i];
        const float* from = row + r.first * B;
        float sum[B] = {};
        for (std::int64_t k = 0; k < r.count; ++k)
            for (int b = 0; b < B; ++b) sum[b] += r.weight[k] * from[k * B + b];
        for (int b = 0; b < B; ++b) store(to[i * B + b], kAccumulate ? to_f32(to[i * B + b]) + sum[b] : sum[b]);
    }
}

void require_double(const View& x, const View& y) {
    const Shape twice{x.shape.n, x.shape.c, 2 * x.shape.d, 2 * x.shape.h, 2 * x.shape.w};
    if (!(y.shape == twice) || x.layout != y.layout)
        throw std::invalid_argument("upsample: the result is twice the size of the input, in its layout");
}

}  // namespace

void upsample(Stream stream, View x, Corners corners, View y) {
    require_double(x, y);
    const Blocks blocks(x);
    const Shape &small = x.shape, &big = y.shape;
    const std::vector<Tap> d_taps = taps_of(small.d, corners), h_taps = taps_of(small.h, corners),
                           w_taps = taps_of(small.w, corners);
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            parallel_ranges(stream, blocks.rows() * big.d * big.h, [&](std::int64_t first, std::int64_t last) {
                std::vector<float> sums(static_cast<std::size_t>(small.w * B));
                for (std::int64_t i = first; i < last; ++i) {
                    const Tap &h = h_taps[i % big.h], &d = d_taps[i / big.h % big.d];
                    const T* volume = x.as<const T>() + i / big.h / big.d * blocks.voxels * B;
                    const T* rows[4];
                    float weights[4];
                    for (int r = 0; r < 4; ++r) {
                        const std::int64_t z = d.near + (r >> 1) * d.step, v = h.near + (r & 1) * h.step;
                        rows[r] = volume + (z * small.h + v) * small.w * B;
                        weights[r] = (r >> 1 ? d.far : 1.0f - d.far) * (r & 1 ? h.far : 1.0f - h.far);
                    }
                    blend_rows(rows, weights, small.w * B, sums.data());
                    interpolate_row<B>(sums.data(), w_taps.data(), big.w, y.as<T>() + i * big.w * B);
                }
            });
        });
    });
}

void upsample_backward(Stream stream, View diff_y, Corners corners, View diff_x, Write write) {
    require_double(diff_x, diff_y);
    const Blocks blocks(diff_x);
    const Shape &small = diff_x.shape, &big = diff_y.shape;
    const std::vector<Readers> d_readers = readers_of(small.d, corners), h_readers = readers_of(small.h, corners),
                               w_readers = readers_of(small.w, corners);
    with_real(diff_x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            parallel_ranges(stream, blocks.rows() * small.d * small.h, [&](std::int64_t first, std::int64_t last) {
                std::vector<float> sums(static_cast<std::size_t>(big.w * B));
                const auto gather = write == Write::overwrite ? gather_row<B, T, false> : gather_row<B, T, true>;
                for (std::int64_t i = first; i < last; ++i) {
                    const Readers &h = h_readers[i % small.h], &d = d_readers[i / small.h % small.d];
                    const T* volume = diff_y.as<const T>() + i / small.h / small.d * big.voxels() * B;
                    std::fill(sums.begin(), sums.end(), 0.0f);
                    for (std::int64_t z = 0; z < d.count; ++z)
                        for (std::int64_t v = 0; v < h.count; ++v)
                            add_row(volume + ((d.first + z) * big.h + h.first + v) * big.w * B,
                                    d.weight[z] * h.weight[v], big.w * B, sums.data());
                    gather(sums.data(), w_readers.data(), small.w, diff_x.as<T>() + i * small.w * B);
                }
            });
        });
    });
}

}  // namespace iwseg::cpu
