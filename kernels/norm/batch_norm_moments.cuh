#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/norm/batch_norm.h"

namespace iwseg::IWSEG_BACKEND {

/// A channel's sums over all its voxels of x - pivot and of (x - pivot)^2.
struct Moments {
    double pivot, sum, square, count;

    /// Leaves mean and deviation, and moves the running ones, where there are any.
    __device__ __forceinline__ void finish(int channel, float epsilon, const BatchNormStatistics& statistics,
                                           const RunningStatistics& running) const {
        const double mean = pivot + sum / count;
        // Rounding may leave a little less than nothing where all elements are equal; a NaN is kept.
        const double from_mean = square - sum * sum / count, squares = from_mean < 0 ? 0 : from_mean;
        statistics.mean[channel] = static_cast<float>(mean);
        statistics.inverse_deviation[channel] = static_cast<float>(1.0 / sqrt(squares / count + epsilon));
        if (!running.mean) return;
        const double unbiased = count > 1 ? squares / (count - 1) : squares;
        running.mean[channel] += running.momentum * (static_cast<float>(mean) - running.mean[channel]);
        running.variance[channel] += running.momentum * (static_cast<float>(unbiased) - running.variance[channel]);
    }
};

}  // namespace iwseg::IWSEG_BACKEND
