#pragma once

#include <stdexcept>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Throws std::invalid_argument where x and y are not of one voxel each, or differ in more than their channels.
inline void require_vectors(const View& x, const View& y) {
    if (x.shape.voxels() != 1 || y.shape.voxels() != 1 || x.shape.n != y.shape.n || x.layout != y.layout ||
        x.type != y.type)
        throw std::invalid_argument(
            "linear: operand and result are of as many samples of one voxel, in one layout and type");
}

}  // namespace iwseg

/// y = W x + b for each sample: x (N, I, 1, 1, 1), y (N, O, 1, 1, 1), f32 or bf16, one layout and type; weights (O, I)
/// and bias (O) f32, as are all sums, whose order depends on the shapes alone.
IWSEG_BACKENDS(
    /// bias: or null.
    void linear(Stream stream, View x, const float* weights, const float* bias, View y);
    /// diff_x = W^T diff_y, or += it.
    void linear_backward_data(Stream stream, View diff_y, const float* weights, View diff_x, Write write);
    /// Overwrites both; diff_bias: or null.
    void linear_backward_weights(Stream stream, View x, View diff_y, float* diff_weights, float* diff_bias);)
