#pragma once

#include <cstdint>
#include <span>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Of a convolution's weights (outputs, inputs, taps): inputs of one group, taps of the whole kernel.
struct WeightShape {
    std::int64_t outputs, inputs;
    int taps;  ///< at most 7 x 7 x 7

    std::int64_t count() const { return outputs * inputs * taps; }
};

/// One array in both forms.
struct PackedArray {
    float* plain = nullptr;  ///< (outputs, inputs, taps), f32
    void* packed = nullptr;  ///< (outputs, taps, inputs), f32 or bf16
    WeightShape shape;
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// Makes the packed form of all arrays, of that type, in one launch for each 100 of them.
    void pack_all_weights(Stream stream, std::span<const PackedArray> arrays, Type type);
    /// The other way, for their gradients.
    void unpack_all_weights(Stream stream, std::span<const PackedArray> arrays, Type type);
    /// packed: (outputs, taps, inputs) of f32 or bf16, from plain f32 weights (outputs, inputs, taps).
    void pack_weights(Stream stream, const float* weights, const WeightShape& shape, Type type, void* packed);
    /// The other way, for their gradient.
    void unpack_weights(Stream stream, const void* packed, const WeightShape& shape, Type type, float* weights);
    /// dst (N, O, D, H, W) += bias (O): channels innermost or, on the CPU, as they lie there.
    void add_bias(Stream stream, const float* bias, View dst);)
