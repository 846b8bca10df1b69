#include "kernels/elementwise/dropout.h"

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

constexpr int kGroups = 32;  ///< drawn at once, as vectors

/// The factors of 4 kGroups elements: factors[4 g + i] is of word i of group `groups[g]`.
IWSEG_VECTOR_CLONES void draw_factors(const std::uint32_t* groups, const DropoutMask& mask, std::uint64_t seed,
                                      std::uint64_t step, float* factors) {
    std::uint32_t words[4][kGroups];
    for (int g = 0; g < kGroups; ++g) {
        const PhiloxCounter bits = dropout_bits(groups[g], mask.layer, seed, step);
        for (int i = 0; i < 4; ++i) words[i][g] = bits.words[i];
    }
    for (int g = 0; g < kGroups; ++g)
        for (int i = 0; i < 4; ++i) factors[4 * g + i] = words[i][g] < mask.threshold ? 0.0f : mask.scale;
}

template <class T, bool kAdd>
IWSEG_VECTOR_CLONES void apply(const T* x, const float* factors, std::int64_t stride, std::int64_t count, T* y) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float value = to_f32(x[i]) * factors[i * stride];
        store(y[i], kAdd ? to_f32(y[i]) + value : value);
    }
}

}  // namespace

void dropout(Stream stream, View x, DropoutMask mask, View y, Write write) {
    require_droppable(x, y);
    const Blocks blocks(x);
    const std::int64_t of_voxel = (x.shape.c + 3) / 4;  // groups
    const std::uint64_t seed = mask.seed_and_step[0], step = mask.seed_and_step[1];
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            constexpr int kOfBlock = B < 4 ? 1 : B / 4, kVoxels = kGroups / kOfBlock;
            const auto body = write == Write::accumulate ? apply<T, true> : apply<T, false>;
            const std::int64_t tiles = (blocks.voxels + kVoxels - 1) / kVoxels;
            parallel_for(stream, blocks.rows() * tiles, [&](std::int64_t i) {
                const std::int64_t row = i / tiles, first = i % tiles * kVoxels;
                const std::int64_t sample = row / blocks.blocks, channel = row % blocks.blocks * B;
                std::uint32_t groups[kGroups];
                for (int g = 0; g < kGroups; ++g)
                    groups[g] = static_cast<std::uint32_t>((sample * blocks.voxels + first + g / kOfBlock) * of_voxel +
                                                           channel / 4 + g % kOfBlock);
                float factors[4 * kGroups];
                draw_factors(groups, mask, seed, step, factors);
                const std::int64_t at = (row * blocks.voxels + first) * B;
                // Plain channels take one word of each group.
                body(x.as<const T>() + at, factors + (B < 4 ? channel % 4 : 0), B < 4 ? 4 : 1,
                     std::min<std::int64_t>(kVoxels, blocks.voxels - first) * B, y.as<T>() + at);
            });
        });
    });
}

}  // namespace iwseg::cpu
