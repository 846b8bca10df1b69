#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// to = from, whatever their layouts and real types (f32, bf16): the same shape (N, C, D, H, W). Channels that only pad
/// a block of `to` become 0.
IWSEG_BACKENDS(void reorder(Stream stream, View from, View to);)
