#include "kernels/cpu/vector_clones.h"
#include "kernels/optimizer/flat_cpu.h"
#include "kernels/optimizer/moving_average.h"

namespace iwseg::cpu {
namespace {

IWSEG_VECTOR_CLONES void average_chunk(float share, std::int64_t count, const float* value, float* average) {
    for (std::int64_t i = 0; i < count; ++i) average[i] += share * (value[i] - average[i]);
}

}  // namespace

void average_values(Stream stream, const UpdateStep* step, std::int64_t count, const float* value, float* average) {
    if (!step->last_batch) return;
    for_flat_chunks(stream, count, [&](std::int64_t i, std::int64_t elements, std::int64_t) {
        average_chunk(step->average_share, elements, value + i, average + i);
    });
}

}  // namespace iwseg::cpu
