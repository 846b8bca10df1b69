#include "kernels/optimizer/adamw.h"

#include <cmath>

#include "kernels/optimizer/flat.cuh"

// All parameters in one launch: 28 bytes a parameter.
namespace iwseg::IWSEG_BACKEND {
namespace {

struct AdamWChange {
    static constexpr int kBuffers = 4, kFirstWritten = 1;  ///< gradient, mean, square, value
    AdamWOptions options;
    const UpdateStep* step;
    UpdateStep now = {};

    __device__ __forceinline__ bool begin() {
        now = *step;
        return now.last_batch != 0;
    }
    __device__ __forceinline__ void operator()(float (&x)[kBuffers]) const {
        const float g = x[0];
        x[1] = options.beta1 * x[1] + (1.0f - options.beta1) * g;
        x[2] = options.beta2 * x[2] + (1.0f - options.beta2) * g * g;
        x[3] -= now.rate * options.weight_decay * x[3];
        x[3] -= now.rate * now.mean_factor * x[1] / (now.deviation_factor * sqrtf(x[2]) + options.epsilon);
    }
};

}  // namespace

void adamw_update(Stream stream, const AdamWOptions& options, const UpdateStep* step, std::int64_t count,
                  const float* gradient, float* mean, float* square, float* value) {
    change_flat(stream, AdamWChange{options, step}, count, gradient, mean, square, value);
}

}  // namespace iwseg::IWSEG_BACKEND
