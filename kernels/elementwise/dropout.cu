#include "kernels/elementwise/dropout.h"

#include "kernels/cuda/cells.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"

// A thread draws the bits of its pack: one block of Philox for four channels. Nothing is kept for the backward pass,
// which draws them again.
namespace iwseg::IWSEG_BACKEND {
namespace {

/// plain: samples are those of a tensor of `channels` plain channels, one by one.
template <class T, int W>
__global__ void __launch_bounds__(kCellThreads)
    dropout_kernel(const T* x, Cells cells, int channels, bool plain, DropoutMask mask, bool accumulate, T* y) {
    const Cell cell = cell_of(cells);
    if (!cell.inside) return;
    const int sample = plain ? cell.n / channels : cell.n;
    const int channel = plain ? cell.n - sample * channels : cell.pack * W;
    const std::int64_t in_sample = (std::int64_t{cell.d} * cells.h + cell.h) * cells.w + cell.w;
    const std::int64_t voxels = std::int64_t{cells.d} * cells.h * cells.w;
    const auto group = static_cast<std::uint32_t>((sample * voxels + in_sample) * ((channels + 3) / 4) + channel / 4);
    const std::uint64_t seed = mask.seed_and_step[0], step = mask.seed_and_step[1];
    const std::int64_t at = ((cell.n * voxels + in_sample) * cells.packs + cell.pack) * W;
    float values[W], before[W] = {};
    load_pack<W>(x + at, values);
    if (accumulate) load_pack<W>(y + at, before);
    constexpr int kWords = W < 4 ? W : 4;
#pragma unroll
    for (int k = 0; k < W; k += kWords) {
        const PhiloxCounter bits = dropout_bits(group + static_cast<std::uint32_t>(k / 4), mask.layer, seed, step);
#pragma unroll
        for (int i = 0; i < kWords; ++i) {
            const std::uint32_t word = W < 4 ? (channel % 4 == 0   ? bits.words[0]
                                                : channel % 4 == 1 ? bits.words[1]
                                                : channel % 4 == 2 ? bits.words[2]
                                                                   : bits.words[3])
                                             : bits.words[i];
            const float value = values[k + i] * (word < mask.threshold ? 0.0f : mask.scale);
            before[k + i] = accumulate ? before[k + i] + value : value;
        }
    }
    store_pack<W>(y + at, before);
}

}  // namespace

void dropout(Stream stream, View x, DropoutMask mask, View y, Write write) {
    require_droppable(x, y);
    const Shape shape = innermost(x, "dropout");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_pack<T>(shape.c, [&](auto width) {
            const Cells cells = cells_of(shape, width);
            launch(dropout_kernel<T, width>, grid_of(cells, shape.n), stream, x.as<const T>(), cells, x.shape.c,
                   x.layout == Layout::ncdhw, mask, write == Write::accumulate, y.as<T>());
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
