#include "kernels/elementwise/reorder.h"

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise/elementwise.h"

namespace iwseg::cpu {

void reorder(Stream stream, View from, View to) {
    if (!(from.shape == to.shape)) throw std::invalid_argument("reorder: tensors of different shape");
    if (from.layout == to.layout) return copy(stream, from, to);
    const std::int64_t voxels = to.shape.voxels(), channels = to.shape.c;
    const std::int64_t from_block = block_of(from.layout, channels), to_block = block_of(to.layout, channels);
    const std::int64_t from_padded = padded_channels(from.layout, channels),
                       to_padded = padded_channels(to.layout, channels);
    with_real(from.type, [&](auto real_from) {
        with_real(to.type, [&](auto real_to) {
            const auto* source = from.as<const decltype(real_from)>();
            auto* target = to.as<decltype(real_to)>();
            parallel_for(stream, to.shape.n * to_padded, [&](std::int64_t i) {
                const std::int64_t n = i / to_padded, c = i % to_padded;
                auto* row = target + (n * to_padded + c / to_block * to_block) * voxels + c % to_block;
                const auto* of = source + (n * from_padded + c / from_block * from_block) * voxels + c % from_block;
                for (std::int64_t v = 0; v < voxels; ++v)
                    store(row[v * to_block], c < channels ? to_f32(of[v * from_block]) : 0.0f);
            });
        });
    });
}

}  // namespace iwseg::cpu
