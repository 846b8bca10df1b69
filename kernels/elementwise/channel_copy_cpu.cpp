#include "kernels/elementwise/channel_copy.h"

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

/// Elements side by side.
template <class T, bool kAdd>
IWSEG_VECTOR_CLONES void move_run(const T* from, std::int64_t count, T* to) {
    for (std::int64_t i = 0; i < count; ++i) store(to[i], kAdd ? to_f32(to[i]) + to_f32(from[i]) : to_f32(from[i]));
}

/// `lanes` channels of each voxel, where a block holds others too.
template <int B, class T, bool kAdd>
IWSEG_VECTOR_CLONES void move_lanes(const T* from, std::int64_t voxels, int lanes, T* to) {
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int l = 0; l < lanes; ++l)
            store(to[v * B + l], kAdd ? to_f32(to[v * B + l]) + to_f32(from[v * B + l]) : to_f32(from[v * B + l]));
}

template <int B, class T>
void clear_lanes(std::int64_t voxels, int first, T* to) {
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int l = first; l < B; ++l) to[v * B + l] = T{};
}

/// Some voxels of one block of `to`: from the one or two blocks of `from` that hold its channels.
template <int B, class T, bool kAdd>
void fill_block(const T* from, std::int64_t from_block, std::int64_t shift, std::int64_t first, std::int64_t end,
                std::int64_t voxels, T* to) {
    for (std::int64_t c = first; c < end;) {
        const std::int64_t source = c + shift, lane = source % B;
        const std::int64_t lanes = std::min(end - c, B - lane);
        const T* block = from + source / B * from_block + lane;
        if (lanes == B)
            move_run<T, kAdd>(block, voxels * B, to);
        else
            move_lanes<B, T, kAdd>(block, voxels, static_cast<int>(lanes), to + c % B);
        c += lanes;
    }
}

}  // namespace

void copy_channels(Stream stream, View from, std::int64_t from_channel, View to, std::int64_t to_channel,
                   std::int64_t channels, Write write) {
    require_channels(from, from_channel, to, to_channel, channels);
    const Blocks source(from), blocks(to);
    const std::int64_t size = chunk_voxels(blocks.block), chunks = chunks_in(blocks.voxels, blocks.block);
    const std::int64_t low = to_channel / blocks.block, end = to_channel + channels;
    const std::int64_t touched = (end + blocks.block - 1) / blocks.block - low;
    const std::int64_t filled = to.shape.c % blocks.block;
    with_real(to.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            using T = decltype(real);
            constexpr int B = width;
            const auto fill = write == Write::accumulate ? fill_block<B, T, true> : fill_block<B, T, false>;
            parallel_for(stream, channels ? blocks.samples * touched * chunks : 0, [&](std::int64_t i) {
                const std::int64_t first = i % chunks * size, block = low + i / chunks % touched;
                const std::int64_t sample = i / chunks / touched, voxels = std::min(size, blocks.voxels - first);
                T* const at = to.as<T>() + ((sample * blocks.blocks + block) * blocks.voxels + first) * B;
                fill(from.as<const T>() + (sample * source.blocks * source.voxels + first) * B, source.voxels * B,
                     from_channel - to_channel, std::max(to_channel, block * B), std::min(end, (block + 1) * B), voxels,
                     at);
                if (filled && end == to.shape.c && block + 1 == blocks.blocks)
                    clear_lanes<B>(voxels, static_cast<int>(filled), at);
            });
        });
    });
}

}  // namespace iwseg::cpu
