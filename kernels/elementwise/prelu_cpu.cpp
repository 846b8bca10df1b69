#include "kernels/elementwise/prelu.h"

#include <algorithm>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

// Chunks of at most 64 KB. One's sums are taken in f32 over 64 lanes of at most 256 elements each, and joined in double
// in the order of the chunks: the same bytes on any number of threads.
namespace iwseg::cpu {
namespace {

constexpr int kLanes = 64;  ///< a multiple of every block

/// The slopes of one block of channels, 0 for those that only pad, again and again.
struct LaneSlopes {
    float of[kLanes] = {};

    LaneSlopes(const float* slopes, std::int64_t first, std::int64_t channels, std::int64_t block) {
        for (std::int64_t l = 0; l < kLanes; ++l)
            if (first + l % block < channels) of[l] = slopes[first + l % block];
    }
};

template <class T>
IWSEG_VECTOR_CLONES void prelu_chunk(const T* x, std::int64_t elements, const float* slopes, T* y) {
    for (std::int64_t i = 0; i < elements; i += kLanes) {
        const int count = static_cast<int>(std::min<std::int64_t>(kLanes, elements - i));
        float values[kLanes];
        for (int l = 0; l < count; ++l) values[l] = to_f32(x[i + l]);
        for (int l = 0; l < count; ++l) store(y[i + l], values[l] > 0 ? values[l] : slopes[l] * values[l]);
    }
}

/// sums: of `block` channels. What is computed of some elements is held beside them before it is stored: diff_x may be
/// diff_y, and the compiler shall not have to ask.
template <class T>
IWSEG_VECTOR_CLONES void gradient_chunk(const T* x, const T* diff_y, std::int64_t elements, const float* slopes,
                                        T* diff_x, bool accumulate, std::int64_t block, double* sums) {
    float lanes[kLanes] = {};
    for (std::int64_t i = 0; i < elements; i += kLanes) {
        const int count = static_cast<int>(std::min<std::int64_t>(kLanes, elements - i));
        float gradient[kLanes];
        for (int l = 0; l < count; ++l) {
            const float value = to_f32(x[i + l]), given = to_f32(diff_y[i + l]), product = value * given;
            lanes[l] += value > 0 ? 0.0f : product;
            gradient[l] = value > 0 ? given : slopes[l] * given;
        }
        if (!diff_x) continue;
        if (accumulate)
            for (int l = 0; l < count; ++l) gradient[l] += to_f32(diff_x[i + l]);
        for (int l = 0; l < count; ++l) store(diff_x[i + l], gradient[l]);
    }
    std::fill_n(sums, block, 0.0);
    for (int l = 0; l < kLanes; ++l) sums[l % block] += lanes[l];
}

/// Calls body(first element, elements, slopes, chunk) for all chunks, in parallel.
template <class Body>
void over_slope_chunks(Stream stream, const View& x, const float* slopes, Body&& body) {
    const Blocks blocks(x);
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), size = chunk_voxels(blocks.block);
    parallel_for(stream, blocks.rows() * chunks, [&](std::int64_t i) {
        const std::int64_t row = i / chunks, first = i % chunks * size;
        const LaneSlopes of(slopes, row % blocks.blocks * blocks.block, x.shape.c, blocks.block);
        body((row * blocks.voxels + first) * blocks.block, std::min(size, blocks.voxels - first) * blocks.block, of.of,
             i);
    });
}

}  // namespace

void prelu(Stream stream, View x, const float* slopes, std::int64_t count, View y) {
    require_same_form(x, y, "prelu");
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        over_slope_chunks(stream, by_slope(x, count, "prelu"), slopes,
                          [&](std::int64_t at, std::int64_t elements, const float* of, std::int64_t) {
                              prelu_chunk(x.as<const T>() + at, elements, of, y.as<T>() + at);
                          });
    });
}

std::int64_t prelu_scratch_bytes(const Shape& shape, Layout layout, std::int64_t count) {
    const Blocks blocks(by_slope({nullptr, shape, Type::f32, layout}, count, "prelu_scratch_bytes"));
    return blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block *
           static_cast<std::int64_t>(sizeof(double));
}

void prelu_backward(Stream stream, View x, View diff_y, const float* slopes, std::int64_t count, View diff_x,
                    Write write, float* diff_slopes, void* scratch) {
    require_same_form(x, diff_y, "prelu_backward");
    if (diff_x.data) require_same_form(x, diff_x, "prelu_backward");
    const View seen = by_slope(x, count, "prelu_backward");
    const Blocks blocks(seen);
    auto* const partial = static_cast<double*>(scratch);
    with_real(x.type, [&](auto real) {
        using T = decltype(real);
        over_slope_chunks(stream, seen, slopes,
                          [&](std::int64_t at, std::int64_t elements, const float* of, std::int64_t chunk) {
                              T* const to = diff_x.data ? diff_x.as<T>() + at : nullptr;
                              gradient_chunk(x.as<const T>() + at, diff_y.as<const T>() + at, elements, of, to,
                                             write == Write::accumulate, blocks.block, partial + chunk * blocks.block);
                          });
    });
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block);
    for (std::int64_t c = 0; c < count; ++c) {
        double total = 0;
        for (std::int64_t n = 0; n < blocks.samples; ++n)
            for (std::int64_t k = 0; k < chunks; ++k)
                total +=
                    partial[((n * blocks.blocks + c / blocks.block) * chunks + k) * blocks.block + c % blocks.block];
        diff_slopes[c] = static_cast<float>(total);
    }
}

}  // namespace iwseg::cpu
