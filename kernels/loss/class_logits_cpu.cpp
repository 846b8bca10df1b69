#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"
#include "kernels/device/dispatch.h"
#include "kernels/loss/class_logits.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kTileVoxels = 64;  ///< channel by channel in f32: loops over them are vector code

/// Some voxels of a sample, and where they lie.
struct ClassTile {
    std::int64_t voxels;    ///< how many; the rest of a tile is 0
    std::int64_t at, step;  ///< of the network's channel 0, and from one to the next
    std::int64_t binary_at, binary_step;
};

/// SoftmaxSums of a tile's voxels.
struct TileSums {
    float most[kTileVoxels], second[kTileVoxels], others[kTileVoxels], rest[kTileVoxels];
    int largest[kTileVoxels];

    IWSEG_INLINE SoftmaxSums at(std::int64_t v) const { return {most[v], second[v], largest[v], others[v]}; }
    IWSEG_INLINE void set(std::int64_t v, const SoftmaxSums& sums) {
        most[v] = sums.most;
        second[v] = sums.second;
        largest[v] = sums.largest;
        others[v] = sums.others;
    }
    IWSEG_INLINE void fill(const float* z, int channels) {
        for (std::int64_t v = 0; v < kTileVoxels; ++v) set(v, {});
        for (int k = 0; k < channels; ++k)
            for (std::int64_t v = 0; v < kTileVoxels; ++v) {
                SoftmaxSums sums = at(v);
                sums.compare(z[k * kTileVoxels + v], k);
                set(v, sums);
            }
        for (int k = 0; k < channels; ++k)
            for (std::int64_t v = 0; v < kTileVoxels; ++v) {
                SoftmaxSums sums = at(v);
                sums.add(z[k * kTileVoxels + v], k);
                others[v] = sums.others;
            }
        for (std::int64_t v = 0; v < kTileVoxels; ++v) rest[v] = at(v).rest();
    }
};

/// z becomes each channel's logit against the rest.
IWSEG_VECTOR_CLONES void against_the_rest(int channels, float* z) {
    TileSums sums;
    sums.fill(z, channels);
    for (int k = 0; k < channels; ++k)
        for (std::int64_t v = 0; v < kTileVoxels; ++v) {
            const SoftmaxSums s = sums.at(v);
            const bool largest = k == s.largest;
            const float own = z[k * kTileVoxels + v], beside = s.beside(own, sums.rest[v]);
            z[k * kTileVoxels + v] = own - (largest ? s.second : s.most) - log_from_one(largest ? s.others : beside);
        }
}

/// gradient: by the logits against the rest, then by z.
IWSEG_VECTOR_CLONES void join_gradients(const float* z, int channels, float* gradient) {
    TileSums sums;
    float all[kTileVoxels] = {}, of_largest[kTileVoxels] = {};
    sums.fill(z, channels);
    for (int k = 0; k < channels; ++k)
        for (std::int64_t v = 0; v < kTileVoxels; ++v) {
            const SoftmaxSums s = sums.at(v);
            const bool largest = k == s.largest;
            const float own = gradient[k * kTileVoxels + v];
            const float share = own / s.beside(z[k * kTileVoxels + v], sums.rest[v]);
            all[v] += largest ? 0.0f : share;
            of_largest[v] = largest ? own : of_largest[v];
        }
    for (int k = 0; k < channels; ++k)
        for (std::int64_t v = 0; v < kTileVoxels; ++v) {
            const SoftmaxSums s = sums.at(v);
            const float at = z[k * kTileVoxels + v], own = gradient[k * kTileVoxels + v];
            const float others = exp_nonpositive(at - s.most) * (all[v] - own / s.beside(at, sums.rest[v])) +
                                 of_largest[v] * (exp_nonpositive(at - s.second) / s.others);
            gradient[k * kTileVoxels + v] = own - (k == s.largest ? all[v] : others);
        }
}

/// Calls body(sample, tile, first voxel of it) for all voxels.
template <class Body>
void each_class_tile(Stream stream, const Shape& shape, Body&& body) {
    const std::int64_t voxels = shape.voxels(), tiles = (voxels + kTileVoxels - 1) / kTileVoxels;
    parallel_for(stream, shape.n * tiles, [&](std::int64_t i) {
        const std::int64_t n = i / tiles, first = i % tiles * kTileVoxels;
        body(ClassTile{std::min(kTileVoxels, voxels - first), n * shape.c * voxels + first, voxels, n * voxels + first,
                       shape.n * voxels});
    });
}

}  // namespace

void split_classes(Stream stream, const ClassChannels& channels, View logit, const std::int32_t* labels, float* binary,
                   std::uint8_t* target) {
    require_class_logits(channels, logit, "split_classes");
    with_real(logit.type, [&](auto real) {
        using T = decltype(real);
        each_class_tile(stream, logit.shape, [&](const ClassTile& tile) {
            float z[kMostLossChannels * kTileVoxels];
            for (int k = 0; k < channels.channels; ++k) {
                const T* from = logit.as<const T>() + tile.at + k * tile.step;
                for (std::int64_t v = 0; v < kTileVoxels; ++v)
                    z[k * kTileVoxels + v] = v < tile.voxels ? to_f32(from[v]) : 0.0f;
            }
            if (channels.exclusive) against_the_rest(channels.channels, z);
            for (int k = 0; k < channels.channels; ++k) {
                const std::int64_t to = tile.binary_at + k * tile.binary_step;
                for (std::int64_t v = 0; v < tile.voxels; ++v) {
                    binary[to + v] = z[k * kTileVoxels + v];
                    target[to + v] = target_in_channel(labels[tile.binary_at + v], channels.labels[k]);
                }
            }
        });
    });
}

void split_classes_backward(Stream stream, const ClassChannels& channels, View logit, const float* diff_binary,
                            View diff_logit, Write write) {
    require_class_logits(channels, logit, "split_classes_backward");
    require_same_form(logit, diff_logit, "split_classes_backward");
    with_real(logit.type, [&](auto real) {
        using T = decltype(real);
        each_class_tile(stream, logit.shape, [&](const ClassTile& tile) {
            float z[kMostLossChannels * kTileVoxels], gradient[kMostLossChannels * kTileVoxels];
            for (int k = 0; k < channels.channels; ++k) {
                const T* from = logit.as<const T>() + tile.at + k * tile.step;
                const float* of = diff_binary + tile.binary_at + k * tile.binary_step;
                for (std::int64_t v = 0; v < kTileVoxels; ++v) {
                    z[k * kTileVoxels + v] = v < tile.voxels ? to_f32(from[v]) : 0.0f;
                    gradient[k * kTileVoxels + v] = v < tile.voxels ? of[v] : 0.0f;
                }
            }
            if (channels.exclusive) join_gradients(z, channels.channels, gradient);
            for (int k = 0; k < channels.channels; ++k) {
                T* to = diff_logit.as<T>() + tile.at + k * tile.step;
                for (std::int64_t v = 0; v < tile.voxels; ++v)
                    store(to[v], gradient[k * kTileVoxels + v] + (write == Write::accumulate ? to_f32(to[v]) : 0.0f));
            }
        });
    });
}

}  // namespace iwseg::cpu
