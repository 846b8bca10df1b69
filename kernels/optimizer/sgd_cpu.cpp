#include "kernels/optimizer/sgd.h"

#include "kernels/cpu/vector_clones.h"
#include "kernels/optimizer/flat_cpu.h"

namespace iwseg::cpu {
namespace {

IWSEG_VECTOR_CLONES void update_chunk(const SgdOptions& o, float rate, std::int64_t count, const float* gradient,
                                      float* momentum, float* value) {
    // Plain or Nesterov as one formula: the step is a * g + b * v.
    const float a = o.nesterov ? 1.0f : 0.0f, b = o.nesterov ? o.momentum : 1.0f;
    for (std::int64_t i = 0; i < count; ++i) {
        const float g = gradient[i] + o.weight_decay * value[i];
        const float v = o.momentum * momentum[i] + g;
        momentum[i] = v;
        value[i] -= rate * (a * g + b * v);
    }
}

}  // namespace

void sgd_update(Stream stream, const SgdOptions& options, const UpdateStep* step, std::int64_t count,
                const float* gradient, float* momentum, float* value) {
    if (!step->last_batch) return;
    for_flat_chunks(stream, count, [&](std::int64_t i, std::int64_t elements, std::int64_t) {
        update_chunk(options, step->rate, elements, gradient + i, momentum + i, value + i);
    });
}

}  // namespace iwseg::cpu
