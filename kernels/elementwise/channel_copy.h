#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/dispatch.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Throws std::invalid_argument where the tensors are not of one form but for their channels, or do not have these.
inline void require_channels(const View& from, std::int64_t from_channel, View to, std::int64_t to_channel,
                             std::int64_t channels) {
    if (from_channel < 0 || to_channel < 0 || channels < 0 || from_channel + channels > from.shape.c ||
        to_channel + channels > to.shape.c)
        throw std::invalid_argument("copy_channels: channels that the tensors do not have");
    to.shape.c = from.shape.c;
    require_same(from, to, "copy_channels");
    if (from.type != to.type) throw std::invalid_argument("copy_channels: tensors of different type");
}

}  // namespace iwseg

IWSEG_BACKENDS(
    /// Channel to_channel + i of `to` = channel from_channel + i of `from`, or += it, for i from 0 up to `channels`.
    /// Tensors of one size but for their channels, of one layout and type, f32 or bf16. Where the channels end with
    /// those of `to`, what fills its last block is 0 afterwards. Throws std::invalid_argument on tensors of different
    /// form and on channels that they do not have.
    void copy_channels(Stream stream, View from, std::int64_t from_channel, View to, std::int64_t to_channel,
                       std::int64_t channels, Write write);)
