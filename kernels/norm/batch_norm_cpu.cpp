#include "kernels/norm/batch_norm.h"

#include "kernels/norm/norm_chunks.h"

namespace iwseg::cpu {

std::int64_t batch_norm_scratch_bytes(const Shape& shape, Layout layout) {
    View view{nullptr, shape, Type::f32, layout};
    const Blocks blocks(view);
    const std::int64_t partials = blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block;
    return 2 * partials * static_cast<std::int64_t>(sizeof(double)) +
           2 * blocks.blocks * blocks.block * static_cast<std::int64_t>(sizeof(float));
}

void batch_norm_statistics(Stream stream, View x, float epsilon, BatchNormStatistics statistics,
                           RunningStatistics running, void* scratch) {
    const Blocks blocks(x);
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block);
    auto* means = static_cast<double*>(scratch);
    double* squares = means + blocks.rows() * chunks * blocks.block;
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            const auto* data = x.as<const decltype(real)>();
            over_chunks(stream, blocks,
                        [&](std::int64_t row, std::int64_t, std::int64_t first, std::int64_t voxels, std::int64_t i) {
                            chunk_moments<B>(data + (row * blocks.voxels + first) * B, voxels, means + i * B,
                                             squares + i * B);
                        });
        });
    });
    const auto count = static_cast<double>(blocks.samples * blocks.voxels);
    for (std::int64_t c = 0; c < x.shape.c; ++c) {
        JoinedMoments all;
        for (std::int64_t n = 0; n < blocks.samples; ++n)
            for (std::int64_t k = 0; k < chunks; ++k) {
                const std::int64_t i =
                    ((n * blocks.blocks + c / blocks.block) * chunks + k) * blocks.block + c % blocks.block;
                const auto voxels = static_cast<double>(
                    std::min(chunk_voxels(blocks.block), blocks.voxels - k * chunk_voxels(blocks.block)));
                all.add(means[i], squares[i], voxels);
            }
        const double mean = all.mean, square = all.square;
        statistics.mean[c] = static_cast<float>(mean);
        statistics.inverse_deviation[c] = static_cast<float>(1.0 / std::sqrt(square / count + epsilon));
        if (!running.mean) continue;
        const double unbiased = count > 1 ? square / (count - 1) : square;
        running.mean[c] += running.momentum * (static_cast<float>(mean) - running.mean[c]);
        running.variance[c] += running.momentum * (static_cast<float>(unbiased) - running.variance[c]);
    }
}

void batch_norm_running_statistics(Stream, std::int64_t channels, float epsilon, RunningStatistics running,
                                   BatchNormStatistics statistics) {
    for (std::int64_t c = 0; c < channels; ++c) {
        statistics.mean[c] = running.mean[c];
        statistics.inverse_deviation[c] =
            static_cast<float>(1.0 / std::sqrt(static_cast<double>(running.variance[c]) + epsilon));
    }
}

void batch_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights,
                      NormActivation activation, View y) {
    require_same(x, y, "batch_norm_apply");
    const Blocks blocks(x);
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            using T = decltype(real);
            over_chunks(
                stream, blocks,
                [&](std::int64_t row, std::int64_t block, std::int64_t first, std::int64_t voxels, std::int64_t) {
                    const Affine<B> affine(block, x.shape.c, 0, statistics, weights);
                    const std::int64_t at = (row * blocks.voxels + first) * B;
                    apply_chunk<B>(x.as<const T>() + at, voxels, affine.scale, affine.shift, activation.slope,
                                   y.as<T>() + at);
                });
        });
    });
}

void batch_norm_backward(Stream stream, View x, View diff_y, BatchNormStatistics statistics, BatchNormWeights weights,
                         NormActivation activation, View diff_x, Write write, float* diff_scale, float* diff_shift,
                         void* scratch) {
    require_same(x, diff_y, "batch_norm_backward");
    require_same(x, diff_x, "batch_norm_backward");
    const Blocks blocks(x);
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), padded = blocks.blocks * blocks.block;
    auto* sums = static_cast<double*>(scratch);
    double* products = sums + blocks.rows() * chunks * blocks.block;
    auto* factors = reinterpret_cast<float*>(products + blocks.rows() * chunks * blocks.block);
    float* offsets = factors + padded;
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            using T = decltype(real);
            over_chunks(
                stream, blocks,
                [&](std::int64_t row, std::int64_t block, std::int64_t first, std::int64_t voxels, std::int64_t i) {
                    const Affine<B> affine(block, x.shape.c, 0, statistics, weights);
                    const std::int64_t at = (row * blocks.voxels + first) * B;
                    chunk_gradient_sums<B>(x.as<const T>() + at, diff_y.as<const T>() + at, voxels, affine.scale,
                                           affine.shift, affine.mean, activation.slope, sums + i * B, products + i * B);
                });
            const auto count = static_cast<double>(blocks.samples * blocks.voxels);
            for (std::int64_t c = 0; c < padded; ++c) {
                factors[c] = offsets[c] = 0;
                if (c >= x.shape.c) continue;
                double sum = 0, product = 0;
                for (std::int64_t n = 0; n < blocks.samples; ++n)
                    for (std::int64_t k = 0; k < chunks; ++k) {
                        const std::int64_t i = ((n * blocks.blocks + c / B) * chunks + k) * B + c % B;
                        sum += sums[i];
                        product += products[i];
                    }
                const double inverse = statistics.inverse_deviation[c], scale = weights.scale[c] * inverse;
                diff_shift[c] = static_cast<float>(sum);
                diff_scale[c] = static_cast<float>(product * inverse);
                const double factor = -scale * inverse * inverse * product / count;
                factors[c] = static_cast<float>(factor);
                offsets[c] = static_cast<float>(-scale * sum / count - factor * statistics.mean[c]);
            }
            over_chunks(
                stream, blocks,
                [&](std::int64_t row, std::int64_t block, std::int64_t first, std::int64_t voxels, std::int64_t) {
                    const Affine<B> affine(block, x.shape.c, 0, statistics, weights);
                    const std::int64_t at = (row * blocks.voxels + first) * B;
                    const auto run =
                        write == Write::overwrite ? chunk_gradient<B, T, false> : chunk_gradient<B, T, true>;
                    run(x.as<const T>() + at, diff_y.as<const T>() + at, voxels, affine.scale, affine.shift,
                        factors + block * B, offsets + block * B, activation.slope, diff_x.as<T>() + at);
                });
        });
    });
}

}  // namespace iwseg::cpu
