#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/components/ignored.h"
#include "kernels/device/const_view.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

struct WeightClip {
    float low = 1.0f, high = 2e5f;
};

/// The weight of a component of `size` voxels in a patch of `voxels`, of which `present` have any, background counted.
IWSEG_HOST_DEVICE inline float inverse_weight(double voxels, double present, double size, WeightClip clip) {
    const double weight = voxels / (present * size);
    return static_cast<float>(weight < clip.low ? clip.low : weight > clip.high ? clip.high : weight);
}

}  // namespace iwseg

/// Inverse weights of a patch (Shirokikh et al., MICCAI 2020): a voxel of component C weighs V / ((K + 1) |C|),
/// clipped, background counting as one more component; V voxels and K components in the patch, |C| voxels of C in it.
/// A patch without background has K = its label count less one, as the original. Ignored voxels are none of the V.
/// labels: (N, 1, D, H, W) i32, 0 background, any nonnegative values up to `stride - 1`, or kIgnoredLabel. Other values
/// are refused on the CPU; a GPU, which is not waited for, counts them nowhere, and look_up_weights gives them NaN.
/// table: (N, stride) f32, table[n][l] the weight of label l in patch n, 0 for labels that do not occur.
IWSEG_BACKENDS(void inverse_weight_table(Stream stream, View labels, float* table, std::int64_t stride,
                                         WeightClip clip);
               /// weights[v] = table[n][labels[v]], 0 where ignored; weights: (N, 1, D, H, W) f32.
               void look_up_weights(Stream stream, View labels, const float* table, std::int64_t stride, View weights);)

namespace iwseg {

/// What every backend refuses.
inline void require_labels(const ConstView& labels, std::int64_t stride, const char* operation) {
    if (labels.type != Type::i32 || labels.shape.c != 1 || block_of(labels.layout, 1) != 1 || stride < 1)
        throw std::invalid_argument(std::string(operation) +
                                    ": expected i32 labels of one channel and a table of one label or more");
}

}  // namespace iwseg
