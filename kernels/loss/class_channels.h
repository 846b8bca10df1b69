#pragma once

#include <cstdint>

#include "kernels/components/ignored.h"
#include "kernels/device/declare.h"

namespace iwseg {

constexpr int kMostLossChannels = 32;
constexpr std::int32_t kMostClassLabels = 64;

/// What each channel of a network's output stands for.
struct ClassChannels {
    int channels = 1;
    /// Classes exclude each other: probabilities are the softmax over channels, else each channel's sigmoid.
    bool exclusive = false;
    std::uint64_t labels[kMostLossChannels] = {1};  ///< of each channel: bit l is set where it holds label l
};

/// What the target of a channel holds where a voxel has this label.
IWSEG_HOST_DEVICE inline std::uint8_t target_in_channel(std::int32_t label, std::uint64_t labels) {
    return label == kIgnoredLabel ? kIgnored : static_cast<std::uint8_t>(labels >> (label & 63) & 1);
}

}  // namespace iwseg
