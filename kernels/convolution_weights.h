#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/view.h"

namespace iwseg {

/// Of a convolution's weights (outputs, inputs, taps), taps = k^3.
struct WeightShape {
    std::int64_t outputs, inputs;
    int taps;

    std::int64_t count() const { return outputs * inputs * taps; }
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// packed: (outputs, taps, inputs) of f32 or bf16, from plain f32 weights (outputs, inputs, taps).
    void pack_weights(Stream stream, const float* weights, const WeightShape& shape, Type type, void* packed);
    /// The other way, for their gradient.
    void unpack_weights(Stream stream, const void* packed, const WeightShape& shape, Type type, float* weights);
    /// dst (N, O, D, H, W), ndhwc, += bias (O).
    void add_bias(Stream stream, const float* bias, View dst);)
