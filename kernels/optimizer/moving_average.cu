#include "kernels/optimizer/moving_average.h"

#include "kernels/optimizer/flat.cuh"

namespace iwseg::IWSEG_BACKEND {
namespace {

struct AverageChange {
    static constexpr int kBuffers = 2, kFirstWritten = 1;  ///< value, average
    const UpdateStep* step;
    float share = 1;

    __device__ __forceinline__ bool begin() {
        share = step->average_share;
        return step->last_batch != 0;
    }
    __device__ __forceinline__ void operator()(float (&x)[kBuffers]) const { x[1] += share * (x[0] - x[1]); }
};

}  // namespace

void average_values(Stream stream, const UpdateStep* step, std::int64_t count, const float* value, float* average) {
    change_flat(stream, AverageChange{step}, count, value, average);
}

}  // namespace iwseg::IWSEG_BACKEND
