#include <cmath>

#include "kernels/cpu/vector_clones.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/flat_cpu.h"

namespace iwseg::cpu {
namespace {

IWSEG_VECTOR_CLONES void update_chunk(const AdamWOptions& o, const UpdateStep& step, std::int64_t count,
                                      const float* gradient, float* mean, float* square, float* value) {
    const float of_mean = 1.0f - o.beta1, of_square = 1.0f - o.beta2;
    const float decay = step.rate * o.weight_decay, rate = step.rate * step.mean_factor;
    for (std::int64_t i = 0; i < count; ++i) {
        const float g = gradient[i];
        const float m = o.beta1 * mean[i] + of_mean * g, s = o.beta2 * square[i] + of_square * g * g;
        mean[i] = m;
        square[i] = s;
        const float kept = value[i] - decay * value[i];
        value[i] = kept - rate * m / (step.deviation_factor * std::sqrt(s) + o.epsilon);
    }
}

}  // namespace

void adamw_update(Stream stream, const AdamWOptions& options, const UpdateStep* step, std::int64_t count,
                  const float* gradient, float* mean, float* square, float* value) {
    if (!step->last_batch) return;
    for_flat_chunks(stream, count, [&](std::int64_t i, std::int64_t elements, std::int64_t) {
        update_chunk(options, *step, elements, gradient + i, mean + i, square + i, value + i);
    });
}

}  // namespace iwseg::cpu
