#include "kernels/norm/group_norm.h"

#include <stdexcept>
#include <string>

#include "kernels/norm/norm_chunks.h"

// As batch normalisation, but that chunks are joined by sample and group.
namespace iwseg::cpu {
namespace {

std::int64_t in_group(const Shape& shape, std::int64_t groups, const char* operation) {
    if (groups >= 1 && shape.c % groups == 0) return shape.c / groups;
    throw std::invalid_argument(std::string(operation) + ": " + std::to_string(groups) + " groups do not divide " +
                                std::to_string(shape.c) + " channels");
}

/// Calls body(chunk's place among sums, voxels) for the chunks of a sample's channel, in their order.
template <class Body>
void each_chunk(const Blocks& blocks, std::int64_t sample, std::int64_t channel, Body&& body) {
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), size = chunk_voxels(blocks.block);
    const std::int64_t row = sample * blocks.blocks + channel / blocks.block;
    for (std::int64_t k = 0; k < chunks; ++k)
        body((row * chunks + k) * blocks.block + channel % blocks.block, std::min(size, blocks.voxels - k * size));
}

}  // namespace

std::int64_t group_norm_scratch_bytes(const Shape& shape, Layout layout) {
    const Blocks blocks(View{nullptr, shape, Type::f32, layout});
    const std::int64_t partials = blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block;
    return 2 * partials * static_cast<std::int64_t>(sizeof(double)) +
           2 * blocks.rows() * blocks.block * static_cast<std::int64_t>(sizeof(float));
}

void group_norm_statistics(Stream stream, View x, std::int64_t groups, float epsilon, BatchNormStatistics statistics,
                           void* scratch) {
    const Blocks blocks(x);
    const std::int64_t together = in_group(x.shape, groups, "group_norm_statistics");
    auto* means = static_cast<double*>(scratch);
    double* squares = means + blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block;
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
    for (std::int64_t group = 0; group < x.shape.n * groups; ++group) {
        const std::int64_t sample = group / groups, begin = group * together;  // of the statistics
        JoinedMoments all;
        for (std::int64_t c = 0; c < together; ++c)
            each_chunk(blocks, sample, begin + c - sample * x.shape.c, [&](std::int64_t i, std::int64_t voxels) {
                all.add(means[i], squares[i], static_cast<double>(voxels));
            });
        std::fill_n(statistics.mean + begin, together, static_cast<float>(all.mean));
        std::fill_n(statistics.inverse_deviation + begin, together,
                    static_cast<float>(1.0 / std::sqrt(all.square / all.seen + epsilon)));
    }
}

void group_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights,
                      NormActivation activation, View y) {
    require_same(x, y, "group_norm_apply");
    const Blocks blocks(x);
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            using T = decltype(real);
            over_chunks(
                stream, blocks,
                [&](std::int64_t row, std::int64_t block, std::int64_t first, std::int64_t voxels, std::int64_t) {
                    const Affine<B> affine(block, x.shape.c, row / blocks.blocks * x.shape.c, statistics, weights);
                    const std::int64_t at = (row * blocks.voxels + first) * B;
                    apply_chunk<B>(x.as<const T>() + at, voxels, affine.scale, affine.shift, activation.slope,
                                   y.as<T>() + at);
                });
        });
    });
}

void group_norm_backward(Stream stream, View x, View diff_y, std::int64_t groups, BatchNormStatistics statistics,
                         BatchNormWeights weights, NormActivation activation, View diff_x, Write write,
                         float* diff_scale, float* diff_shift, void* scratch) {
    require_same(x, diff_y, "group_norm_backward");
    require_same(x, diff_x, "group_norm_backward");
    const Blocks blocks(x);
    const std::int64_t together = in_group(x.shape, groups, "group_norm_backward"), channels = x.shape.c;
    const std::int64_t partials = blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block;
    auto* sums = static_cast<double*>(scratch);
    double* products = sums + partials;
    auto* factors = reinterpret_cast<float*>(products + partials);  // of each row's block, zeros where it is padded
    float* offsets = factors + blocks.rows() * blocks.block;
    const auto affine_of = [&](auto width, std::int64_t row, std::int64_t block) {
        return Affine<width>(block, channels, row / blocks.blocks * channels, statistics, weights);
    };
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            using T = decltype(real);
            over_chunks(
                stream, blocks,
                [&](std::int64_t row, std::int64_t block, std::int64_t first, std::int64_t voxels, std::int64_t i) {
                    const Affine<B> affine = affine_of(width, row, block);
                    const std::int64_t at = (row * blocks.voxels + first) * B;
                    chunk_gradient_sums<B>(x.as<const T>() + at, diff_y.as<const T>() + at, voxels, affine.scale,
                                           affine.shift, affine.mean, activation.slope, sums + i * B, products + i * B);
                });
            std::fill_n(factors, 2 * blocks.rows() * B, 0.0f);
            std::fill_n(diff_scale, channels, 0.0f);
            std::fill_n(diff_shift, channels, 0.0f);
            const auto count = static_cast<double>(together * blocks.voxels);
            for (std::int64_t group = 0; group < x.shape.n * groups; ++group) {
                const std::int64_t sample = group / groups, begin = group * together - sample * channels;
                const double inverse = statistics.inverse_deviation[group * together],
                             mean = statistics.mean[group * together];
                double sum = 0, product = 0;
                for (std::int64_t c = begin; c < begin + together; ++c) {
                    double of_g = 0, of_product = 0;
                    each_chunk(blocks, sample, c, [&](std::int64_t i, std::int64_t) {
                        of_g += sums[i];
                        of_product += products[i];
                    });
                    diff_shift[c] += static_cast<float>(of_g);
                    diff_scale[c] += static_cast<float>(of_product * inverse);
                    sum += weights.scale[c] * of_g;
                    product += weights.scale[c] * of_product * inverse;
                }
                const double factor = -inverse * inverse * product / count;
                for (std::int64_t c = begin; c < begin + together; ++c) {
                    const std::int64_t at = (sample * blocks.blocks + c / B) * B + c % B;
                    factors[at] = static_cast<float>(factor);
                    offsets[at] = static_cast<float>(-inverse * sum / count - factor * mean);
                }
            }
            over_chunks(
                stream, blocks,
                [&](std::int64_t row, std::int64_t block, std::int64_t first, std::int64_t voxels, std::int64_t) {
                    const Affine<B> affine = affine_of(width, row, block);
                    const std::int64_t at = (row * blocks.voxels + first) * B;
                    const auto run =
                        write == Write::overwrite ? chunk_gradient<B, T, false> : chunk_gradient<B, T, true>;
                    run(x.as<const T>() + at, diff_y.as<const T>() + at, voxels, affine.scale, affine.shift,
                        factors + row * B, offsets + row * B, activation.slope, diff_x.as<T>() + at);
                });
        });
    });
}

}  // namespace iwseg::cpu
