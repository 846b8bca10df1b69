#pragma once

#include <cstdint>

#include "kernels/convolution/epilogue.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {

/// What an epilogue makes of a channel before its activation: scale x + shift, by what batch_norm_apply multiplies by.
struct ChannelAffine {
    float scale = 1, shift = 0;

    ChannelAffine(const EpilogueForm& form, const Epilogue& epilogue, std::int64_t channel) {
        if (!form.normalises) return;
        scale = epilogue.weights.scale[channel] * epilogue.statistics.inverse_deviation[channel];
        shift = epilogue.weights.shift[channel] - epilogue.statistics.mean[channel] * scale;
    }
};

/// An epilogue for one block of channels: y = activation(scale (x + bias) + shift) with what batch_norm_apply
/// multiplies by, repeated for as many elements as are computed side by side (loops of one block are unrolled, and not
/// vectorised).
template <int B>
struct BlockEpilogue {
    static constexpr int kLanes = 64;

    float bias[kLanes] = {}, scale[kLanes] = {}, shift[kLanes] = {};  ///< zeros for channels that only pad
    float slope = 1;

    BlockEpilogue() = default;
    /// biases: of all channels, or null.
    BlockEpilogue(const EpilogueForm& form, const Epilogue& epilogue, const float* biases, std::int64_t block,
                  std::int64_t channels)
        : slope(form.activation.slope) {
        for (int l = 0; l < kLanes; ++l) {
            const std::int64_t c = block * B + l % B;
            if (c >= channels) continue;
            if (biases) bias[l] = biases[c];
            const ChannelAffine of(form, epilogue, c);
            scale[l] = of.scale, shift[l] = of.shift;
        }
    }
    float operator()(float x, int lane) const {
        const float value = x * scale[lane] + shift[lane];
        // A NaN passes through, as in max(value, 0) it would not.
        const float low = slope > 0.0f ? slope * value : 0.0f;
        return value < 0.0f ? low : value;
    }
};

namespace {

/// sums: (voxels, B). dst: of as many elements, what is added to where it accumulates. after: null, or where the
/// epilogue's result goes while dst becomes the convolution's own.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void finish_with(const BlockEpilogue<B>& epilogue, const float* sums, std::int64_t voxels, T* dst,
                                     T* after) {
    constexpr int kLanes = BlockEpilogue<B>::kLanes;
    const std::int64_t elements = voxels * B, whole = elements / kLanes * kLanes;
    const auto result = [&](std::int64_t i, int l) {
        const float value = sums[i] + epilogue.bias[l];
        return kAccumulate ? to_f32(dst[i]) + value : value;
    };
    if (after) {
        for (std::int64_t i = 0; i < whole; i += kLanes) {
            float own[kLanes];
            for (int l = 0; l < kLanes; ++l) own[l] = result(i + l, l);
            for (int l = 0; l < kLanes; ++l) store(dst[i + l], own[l]);
            for (int l = 0; l < kLanes; ++l) store(after[i + l], epilogue(own[l], l));
        }
        for (std::int64_t i = whole; i < elements; ++i) {
            const float own = result(i, static_cast<int>(i - whole));
            store(dst[i], own);
            store(after[i], epilogue(own, static_cast<int>(i - whole)));
        }
        return;
    }
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) store(dst[i + l], epilogue(result(i + l, l), l));
    for (std::int64_t i = whole; i < elements; ++i) {
        const int l = static_cast<int>(i - whole);
        store(dst[i], epilogue(result(i, l), l));
    }
}

}  // namespace
}  // namespace iwseg::cpu
