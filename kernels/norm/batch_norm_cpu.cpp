#include "kernels/norm/batch_norm.h"

#include <cmath>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

// Every pass runs over chunks of at most 64 KB. A chunk's sums are taken in f32 over 64 lanes of at most 512 numbers
// each and joined in double in the order of the chunks: error about 1e-6 of the largest term, whatever the size, and
// the same bits on any number of threads.
namespace iwseg::cpu {
namespace {

/// Independent sums side by side: a multiple of every block, wide enough to hide the latency of an addition.
constexpr int kLanes = 64;

template <int B, class T>
IWSEG_VECTOR_CLONES void chunk_moments(const T* x, std::int64_t voxels, double* mean, double* squares) {
    const std::int64_t numbers = voxels * B, whole = numbers / kLanes * kLanes;
    float sum[kLanes] = {}, square[kLanes] = {};
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) sum[l] += to_f32(x[i + l]);
    for (std::int64_t i = whole; i < numbers; ++i) sum[i - whole] += to_f32(x[i]);
    float centre[kLanes];
    for (int b = 0; b < B; ++b) {
        double total = 0;
        for (int l = b; l < kLanes; l += B) total += sum[l];
        mean[b] = total / static_cast<double>(voxels);
        for (int l = b; l < kLanes; l += B) centre[l] = static_cast<float>(mean[b]);
    }
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) {
            const float away = to_f32(x[i + l]) - centre[l];
            square[l] += away * away;
        }
    for (std::int64_t i = whole; i < numbers; ++i) {
        const float away = to_f32(x[i]) - centre[i - whole];
        square[i - whole] += away * away;
    }
    for (int b = 0; b < B; ++b) {
        // What the rounded centre missed: sum (x - m)^2 = sum (x - c)^2 - n (m - c)^2.
        const double miss = mean[b] - static_cast<double>(centre[b]);
        double total = 0;
        for (int l = b; l < kLanes; l += B) total += square[l];
        squares[b] = total - static_cast<double>(voxels) * miss * miss;
    }
}

template <int B, class T>
IWSEG_VECTOR_CLONES void apply_chunk(const T* x, std::int64_t voxels, const float* scale, const float* shift,
                                     float slope, T* y) {
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int b = 0; b < B; ++b) {
            const float value = to_f32(x[v * B + b]) * scale[b] + shift[b];
            // A NaN passes through, as in max(value, 0) it would not.
            const float low = slope > 0.0f ? slope * value : 0.0f;
            store(y[v * B + b], value < 0.0f ? low : value);
        }
}

/// Sums of g and g * xhat over a chunk, g = diff_y times the activation's slope.
template <int B, class T>
IWSEG_VECTOR_CLONES void chunk_gradient_sums(const T* x, const T* diff_y, std::int64_t voxels, const float* scale,
                                             const float* shift, const float* mean, float slope, double* sum,
                                             double* product) {
    const std::int64_t numbers = voxels * B, whole = numbers / kLanes * kLanes;
    float sums[kLanes] = {}, products[kLanes] = {}, scales[kLanes], shifts[kLanes], means[kLanes];
    for (int l = 0; l < kLanes; ++l) scales[l] = scale[l % B], shifts[l] = shift[l % B], means[l] = mean[l % B];
    const auto add = [&](std::int64_t i, int l) {
        // Both are loaded whatever the ReLU let through, so that neither waits for the other.
        const float value = to_f32(x[i]), given = to_f32(diff_y[i]);
        const float low = slope > 0.0f ? slope * given : 0.0f;
        const float g = value * scales[l] + shifts[l] > 0.0f ? given : low;
        sums[l] += g;
        products[l] += g * (value - means[l]);
    };
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) add(i + l, l);
    for (std::int64_t i = whole; i < numbers; ++i) add(i, static_cast<int>(i - whole));
    for (int b = 0; b < B; ++b) {
        sum[b] = product[b] = 0;
        for (int l = b; l < kLanes; l += B) sum[b] += sums[l], product[b] += products[l];
    }
}

/// diff_x = scale * g + factor * x + offset per channel; factor and offset carry the gradient through the statistics.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void chunk_gradient(const T* x, const T* diff_y, std::int64_t voxels, const float* scale,
                                        const float* shift, const float* factor, const float* offset, float slope,
                                        T* diff_x) {
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int b = 0; b < B; ++b) {
            const std::int64_t i = v * B + b;
            const float value = to_f32(x[i]), given = to_f32(diff_y[i]);
            const float low = slope > 0.0f ? slope * given : 0.0f;
            const float g = value * scale[b] + shift[b] > 0.0f ? given : low;
            const float d = scale[b] * g + (factor[b] * value + offset[b]);
            store(diff_x[i], kAccumulate ? to_f32(diff_x[i]) + d : d);
        }
}

/// Runs body(row, block of channels, first voxel, voxels, chunk) over all chunks, in parallel.
template <class Body>
void over_chunks(Stream stream, const Blocks& blocks, Body&& body) {
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), size = chunk_voxels(blocks.block);
    parallel_for(stream, blocks.rows() * chunks, [&](std::int64_t i) {
        const std::int64_t row = i / chunks, first = i % chunks * size;
        body(row, row % blocks.blocks, first, std::min(size, blocks.voxels - first), i);
    });
}

/// The affine form of the normalisation for one block of channels; zeros for channels that only pad.
template <int B>
struct Affine {
    float scale[B] = {}, shift[B] = {}, mean[B] = {};

    Affine(std::int64_t block, std::int64_t channels, const BatchNormStatistics& s, const BatchNormWeights& w) {
        for (int b = 0; b < B; ++b) {
            const std::int64_t c = block * B + b;
            if (c >= channels) continue;
            mean[b] = s.mean[c];
            scale[b] = w.scale[c] * s.inverse_deviation[c];
            shift[b] = w.shift[c] - s.mean[c] * scale[b];
        }
    }
};

}  // namespace

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
        // Chan's rule: chunks join in a fixed order without the cancellation of E[x^2] - E[x]^2.
        double mean = 0, square = 0, seen = 0;
        for (std::int64_t n = 0; n < blocks.samples; ++n)
            for (std::int64_t k = 0; k < chunks; ++k) {
                const std::int64_t i =
                    ((n * blocks.blocks + c / blocks.block) * chunks + k) * blocks.block + c % blocks.block;
                const auto voxels = static_cast<double>(
                    std::min(chunk_voxels(blocks.block), blocks.voxels - k * chunk_voxels(blocks.block)));
                const double away = means[i] - mean;
                square += squares[i] + away * away * seen * voxels / (seen + voxels);
                seen += voxels;
                mean += away * voxels / seen;
            }
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
                    const Affine<B> affine(block, x.shape.c, statistics, weights);
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
                    const Affine<B> affine(block, x.shape.c, statistics, weights);
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
                    const Affine<B> affine(block, x.shape.c, statistics, weights);
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
