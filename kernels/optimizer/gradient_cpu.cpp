#include "kernels/optimizer/gradient.h"

#include <cmath>

#include "kernels/cpu/vector_clones.h"
#include "kernels/optimizer/flat_cpu.h"

namespace iwseg::cpu {
namespace {

IWSEG_VECTOR_CLONES void add_chunk(std::int64_t count, const float* gradient, float* sum) {
    for (std::int64_t i = 0; i < count; ++i) sum[i] += gradient[i];
}

IWSEG_VECTOR_CLONES void scale_chunk(float factor, std::int64_t count, const float* from, float* to) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = factor * from[i];
}

/// Eight sums side by side, so that the loop is vector code.
IWSEG_VECTOR_CLONES double square_sum(std::int64_t count, const float* values) {
    constexpr int kLanes = 8;
    double sums[kLanes] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        for (int k = 0; k < kLanes; ++k) sums[k] += double{values[i + k]} * values[i + k];
    for (; i < count; ++i) sums[0] += double{values[i]} * values[i];
    double all = 0;
    for (const double sum : sums) all += sum;
    return all;
}

}  // namespace

void accumulate_gradient(Stream stream, const UpdateStep* step, float factor, std::int64_t count, float* gradient,
                         float* sum) {
    for_flat_chunks(stream, count, [&](std::int64_t i, std::int64_t elements, std::int64_t) {
        if (step->first_batch)
            std::copy_n(gradient + i, elements, sum + i);
        else
            add_chunk(elements, gradient + i, sum + i);
        if (step->last_batch) scale_chunk(factor, elements, sum + i, gradient + i);
    });
}

std::int64_t clip_scratch_bytes(std::int64_t count) {
    return flat_chunks(count) * static_cast<std::int64_t>(sizeof(double));
}

void clip_gradient(Stream stream, float limit, std::int64_t count, float* gradient, void* scratch) {
    auto* sums = static_cast<double*>(scratch);
    for_flat_chunks(stream, count, [&](std::int64_t i, std::int64_t elements, std::int64_t chunk) {
        sums[chunk] = square_sum(elements, gradient + i);
    });
    double all = 0;
    for (std::int64_t chunk = 0; chunk < flat_chunks(count); ++chunk) all += sums[chunk];
    const auto factor = static_cast<float>(limit / (std::sqrt(all) + 1e-6));
    if (factor >= 1.0f) return;
    for_flat_chunks(stream, count, [&](std::int64_t i, std::int64_t elements, std::int64_t) {
        scale_chunk(factor, elements, gradient + i, gradient + i);
    });
}

}  // namespace iwseg::cpu
