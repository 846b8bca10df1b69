#include "kernels/optimizer/sgd.h"

#include "kernels/optimizer/flat.cuh"

// All parameters in one launch: reads gradient, momentum and value and writes the last two, 20 bytes a parameter.
namespace iwseg::IWSEG_BACKEND {
namespace {

struct SgdChange {
    static constexpr int kBuffers = 3, kFirstWritten = 1;  ///< gradient, momentum, value
    SgdOptions options;
    const UpdateStep* step;
    float rate = 0;

    __device__ __forceinline__ bool begin() {
        rate = step->rate;
        return step->last_batch != 0;
    }
    __device__ __forceinline__ void operator()(float (&x)[kBuffers]) const {
        // Plain or Nesterov as one formula.
        const float of_gradient = options.nesterov ? 1.0f : 0.0f,
                    of_velocity = options.nesterov ? options.momentum : 1.0f;
        const float g = x[0] + options.weight_decay * x[2];
        x[1] = options.momentum * x[1] + g;
        x[2] -= rate * (of_gradient * g + of_velocity * x[1]);
    }
};

}  // namespace

void sgd_update(Stream stream, const SgdOptions& options, const UpdateStep* step, std::int64_t count,
                const float* gradient, float* momentum, float* value) {
    change_flat(stream, SgdChange{options, step}, count, gradient, momentum, value);
}

}  // namespace iwseg::IWSEG_BACKEND
