#include "kernels/elementwise/sgd.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

IWSEG_VECTOR_CLONES void update_piece(const SgdOptions& o, float rate, std::int64_t count, const float* gradient,
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

void sgd_update(Stream stream, const SgdOptions& options, const float* learning_rate, std::int64_t count,
                const float* gradient, float* momentum, float* value) {
    constexpr std::int64_t kPiece = 16384;
    parallel_for(stream, (count + kPiece - 1) / kPiece, [&](std::int64_t piece) {
        const std::int64_t i = piece * kPiece;
        update_piece(options, *learning_rate, std::min(kPiece, count - i), gradient + i, momentum + i, value + i);
    });
}

}  // namespace iwseg::cpu
