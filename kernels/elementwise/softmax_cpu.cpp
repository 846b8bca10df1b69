#include "kernels/elementwise/softmax.h"

#include <limits>
#include <vector>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/loss/exp_log.h"

namespace iwseg::cpu {
namespace {

// kVoxels voxels at a time are laid out as f32, channel by channel, whatever the tensor's layout: loops over them are
// then vector code.
constexpr std::int64_t kVoxels = 64;

/// Some voxels of one sample.
struct Tile {
    std::int64_t sample, first, voxels;  ///< first: of them; voxels: how many
};

/// Calls body(channel, lanes, offset of the block's first element) for each block of a tile.
template <int B, class Body>
void each_block(const Blocks& blocks, std::int64_t channels, const Tile& tile, Body&& body) {
    for (std::int64_t k = 0; k < blocks.blocks; ++k)
        body(k * B, std::min<std::int64_t>(B, channels - k * B),
             ((tile.sample * blocks.blocks + k) * blocks.voxels + tile.first) * B);
}

template <int B, class T>
void lay_out(const View& from, const Blocks& blocks, const Tile& tile, float* to) {
    each_block<B>(blocks, from.shape.c, tile, [&](std::int64_t c, std::int64_t lanes, std::int64_t at) {
        const T* block = from.as<const T>() + at;
        for (std::int64_t b = 0; b < lanes; ++b)
            for (std::int64_t v = 0; v < tile.voxels; ++v) to[(c + b) * kVoxels + v] = to_f32(block[v * B + b]);
    });
}

template <int B, class T, bool kAdd>
void put_back(const float* from, const Blocks& blocks, const Tile& tile, const View& to) {
    each_block<B>(blocks, to.shape.c, tile, [&](std::int64_t c, std::int64_t lanes, std::int64_t at) {
        T* block = to.as<T>() + at;
        for (std::int64_t b = 0; b < B; ++b)
            for (std::int64_t v = 0; v < tile.voxels; ++v) {
                const float value = b < lanes ? from[(c + b) * kVoxels + v] : 0.0f;
                store(block[v * B + b], kAdd ? to_f32(block[v * B + b]) + value : value);
            }
    });
}

IWSEG_VECTOR_CLONES void softmax_tile(std::int64_t channels, float* values) {
    float most[kVoxels], sum[kVoxels] = {};
    for (float& m : most) m = -std::numeric_limits<float>::infinity();
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t v = 0; v < kVoxels; ++v)
            most[v] = values[c * kVoxels + v] > most[v] ? values[c * kVoxels + v] : most[v];
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t v = 0; v < kVoxels; ++v) {
            const float e = exp_nonpositive(values[c * kVoxels + v] - most[v]);
            values[c * kVoxels + v] = e;
            sum[v] += e;
        }
    for (float& s : sum) s = 1.0f / s;
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t v = 0; v < kVoxels; ++v) values[c * kVoxels + v] *= sum[v];
}

/// gradient: of the result, then of the operand.
IWSEG_VECTOR_CLONES void gradient_tile(const float* y, std::int64_t channels, float* gradient) {
    float sum[kVoxels] = {};
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t v = 0; v < kVoxels; ++v) sum[v] += y[c * kVoxels + v] * gradient[c * kVoxels + v];
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t v = 0; v < kVoxels; ++v)
            gradient[c * kVoxels + v] = y[c * kVoxels + v] * (gradient[c * kVoxels + v] - sum[v]);
}

/// Calls body(tile) for all voxels, with room for `tensors` of them laid out.
template <class Body>
void each_tile(Stream stream, const View& x, int tensors, Body&& body) {
    const std::int64_t tiles = (x.shape.voxels() + kVoxels - 1) / kVoxels;
    parallel_ranges(stream, x.shape.n * tiles, [&](std::int64_t first, std::int64_t last) {
        std::vector<float> laid_out(static_cast<std::size_t>(tensors * x.shape.c * kVoxels));
        for (std::int64_t i = first; i < last; ++i) {
            const std::int64_t voxel = i % tiles * kVoxels;
            body(Tile{i / tiles, voxel, std::min(kVoxels, x.shape.voxels() - voxel)}, laid_out.data());
        }
    });
}

}  // namespace

void softmax(Stream stream, View x, View y) {
    require_same_form(x, y, "softmax");
    const Blocks blocks(x);
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            each_tile(stream, x, 1, [&](const Tile& tile, float* values) {
                lay_out<B, T>(x, blocks, tile, values);
                softmax_tile(x.shape.c, values);
                put_back<B, T, false>(values, blocks, tile, y);
            });
        });
    });
}

void softmax_backward(Stream stream, View y, View diff_y, View diff_x, Write write) {
    require_same_form(y, diff_y, "softmax_backward");
    require_same_form(y, diff_x, "softmax_backward");
    const Blocks blocks(y);
    with_real(y.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const auto put = write == Write::accumulate ? put_back<B, T, true> : put_back<B, T, false>;
            each_tile(stream, y, 2, [&](const Tile& tile, float* values) {
                float* const gradient = values + y.shape.c * kVoxels;
                lay_out<B, T>(y, blocks, tile, values);
                lay_out<B, T>(diff_y, blocks, tile, gradient);
                gradient_tile(values, y.shape.c, gradient);
                put(gradient, blocks, tile, diff_x);
            });
        });
    });
}

}  // namespace iwseg::cpu
