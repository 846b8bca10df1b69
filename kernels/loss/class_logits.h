#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/loss/class_channels.h"
#include "kernels/loss/exp_log.h"

// Losses of several classes are made of losses of one channel: each class against the rest.
namespace iwseg {

/// log(x) for x from 1 to 2^127, without branches. A NaN stays one.
IWSEG_INLINE float log_from_one(float x) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
    const float exponent = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127);
    const float mantissa = std::bit_cast<float>((bits & 0x7FFFFFu) | 0x3F800000u);
    const float log = exponent * 0.693147181f + log1p_unit(mantissa - 1.0f);
    return x == x ? log : x;
}

/// What is known of a voxel's logits z once they have been read twice. Sums leave out a channel where they are of the
/// others, so that nothing is lost where one channel is sure.
struct SoftmaxSums {
    float most = -INFINITY, second = -INFINITY;  ///< largest logits
    int largest = 0;                             ///< the channel of `most`
    float others = 0;                            ///< sum of exp(z - second) over all channels but that

    IWSEG_INLINE void compare(float z, int channel) {
        const bool above = z > most;
        second = above ? most : z > second ? z : second;
        most = above ? z : most;
        largest = above ? channel : largest;
    }
    IWSEG_INLINE void add(float z, int channel) { others += channel == largest ? 0.0f : exp_nonpositive(z - second); }
    /// The same sum in units of exp(most).
    IWSEG_INLINE float rest() const { return others * exp_nonpositive(second - most); }
    /// 1 + the sum of exp(z' - most) over the channels that are neither the largest nor this one.
    IWSEG_INLINE float beside(float z, float rest) const {
        const float left = rest - exp_nonpositive(z - most);
        return 1.0f + (left < 0.0f ? 0.0f : left);  // below by rounding; a NaN stays
    }
};

}  // namespace iwseg

/// The logit of each channel against the rest: that of which sigmoid is the channel's probability. Of classes that
/// exclude each other z_k - log of the sum of exp(z_j) over the others, so that softplus(-it) is -log softmax, exact
/// also where it is tiny; else the channel's own.
/// logit: (N, K, D, H, W) f32 or bf16, ncdhw; labels: (N, D, H, W), from 0 below kMostClassLabels, or kIgnoredLabel.
/// binary: (K, N, D, H, W) f32; target: the same, u8, 1 where the voxel's label is one of the channel's, kIgnored where
/// it is ignored, else 0.
/// split_classes_backward: from the gradient by each binary logit to that by the network's; diff_logit: like logit;
/// receives it, or has it added.
/// Throws std::invalid_argument on another number of channels than `channels` says, and on one where classes exclude
/// each other.
IWSEG_BACKENDS(void split_classes(Stream stream, const ClassChannels& channels, View logit, const std::int32_t* labels,
                                  float* binary, std::uint8_t* target);
               void split_classes_backward(Stream stream, const ClassChannels& channels, View logit,
                                           const float* diff_binary, View diff_logit, Write write);)

namespace iwseg {

/// What every backend refuses.
inline void require_class_logits(const ClassChannels& channels, const View& logit, const char* operation) {
    if (logit.shape.c != channels.channels || channels.channels > kMostLossChannels || logit.layout != Layout::ncdhw ||
        channels.channels < (channels.exclusive ? 2 : 1))
        throw std::invalid_argument(std::string(operation) + ": expected logits, ncdhw, of " +
                                    std::to_string(channels.channels) + " channels, at most " +
                                    std::to_string(kMostLossChannels) +
                                    ", and two or more of classes that exclude "
                                    "each other; not of " +
                                    std::to_string(logit.shape.c));
}

}  // namespace iwseg
