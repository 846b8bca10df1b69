#include "kernels/resample/channel_mean.h"

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/lane_sums.h"
#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {

std::int64_t channel_mean_scratch_bytes(const Shape& shape, Layout layout) {
    const Blocks blocks(View{nullptr, shape, Type::f32, layout});
    return blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block *
           static_cast<std::int64_t>(sizeof(double));
}

void channel_mean(Stream stream, View x, View y, void* scratch) {
    require_means(x, y);
    const Blocks blocks(x);
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), size = chunk_voxels(blocks.block);
    auto* partial = static_cast<double*>(scratch);
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            parallel_for(stream, blocks.rows() * chunks, [&](std::int64_t i) {
                const std::int64_t first = i % chunks * size;
                sum_lanes<B>(x.as<const T>() + (i / chunks * blocks.voxels + first) * B,
                             std::min(size, blocks.voxels - first), partial + i * B);
            });
            // Rows of y are blocks of one voxel: channels that fill the last one have sums of 0.
            for (std::int64_t row = 0; row < blocks.rows(); ++row)
                for (int b = 0; b < B; ++b) {
                    double total = 0;
                    for (std::int64_t k = 0; k < chunks; ++k) total += partial[(row * chunks + k) * B + b];
                    store(y.as<T>()[row * B + b], static_cast<float>(total / static_cast<double>(blocks.voxels)));
                }
        });
    });
}

}  // namespace iwseg::cpu
