#pragma once

#include <cstdint>

#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"
#include "kernels/device/view.h"

namespace iwseg::cpu {
namespace {

/// Writes gradients that were computed in f32, or adds them to what is there.
template <class T>
IWSEG_VECTOR_CLONES void store_gradients(const float* values, std::int64_t count, T* to, Write write) {
    if (write == Write::overwrite)
        for (std::int64_t i = 0; i < count; ++i) store(to[i], values[i]);
    else
        for (std::int64_t i = 0; i < count; ++i) store(to[i], to_f32(to[i]) + values[i]);
}

}  // namespace
}  // namespace iwseg::cpu
