#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/cpu/parallel.h"
#include "kernels/device/bf16.h"
#include "kernels/device/dispatch.h"
#include "kernels/device/view.h"

/// What the CPU kernels share: how a tensor falls into rows of blocks, and into chunks that do not depend on the number
/// of threads, so that sums come out the same on any.
namespace iwseg::cpu {

/// A tensor as (N, blocks, V, B): B channels side by side for one voxel. ncdhw is B = 1.
struct Blocks {
    std::int64_t samples, blocks, voxels, block;

    explicit Blocks(const View& view)
        : samples(view.shape.n),
          blocks(padded_channels(view.layout, view.shape.c) / block_of(view.layout, view.shape.c)),
          voxels(view.shape.voxels()),
          block(block_of(view.layout, view.shape.c)) {}
    std::int64_t rows() const { return samples * blocks; }
};

/// Voxels of one chunk of work: 16,384 elements, 64 KB as f32.
constexpr std::int64_t chunk_voxels(std::int64_t block) {
    return 16384 / block;
}
constexpr std::int64_t chunks_in(std::int64_t voxels, std::int64_t block) {
    return (voxels + chunk_voxels(block) - 1) / chunk_voxels(block);
}

/// Calls body(std::integral_constant<int, B>) for the layout's block.
template <class Body>
void with_block(std::int64_t block, Body&& body) {
    switch (block) {
        case 1:
            return body(std::integral_constant<int, 1>{});
        case 8:
            return body(std::integral_constant<int, 8>{});
        case 16:
            return body(std::integral_constant<int, 16>{});
    }
    throw std::invalid_argument("the CPU kernels take channel blocks of 1, 8 or 16, not " + std::to_string(block));
}

/// Sets to 0 what fills the last block of channels, after a function that does not leave 0 as it is.
template <class T>
void clear_padding(Stream stream, const View& view) {
    const Blocks blocks(view);
    const std::int64_t filled = view.shape.c % blocks.block;
    if (filled == 0) return;
    parallel_for(stream, blocks.samples * blocks.voxels, [&](std::int64_t i) {
        const std::int64_t row = (i / blocks.voxels + 1) * blocks.blocks - 1;
        T* const at = view.as<T>() + (row * blocks.voxels + i % blocks.voxels) * blocks.block;
        std::fill(at + filled, at + blocks.block, T{});
    });
}

}  // namespace iwseg::cpu
