#pragma once

#include <cstdint>
#include <stdexcept>

#include "base/philox.h"
#include "kernels/device/declare.h"
#include "kernels/device/dispatch.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Which elements are dropped. Element (n, c, v), v of V voxels, is where word c % 4 of the Philox block of the counter
/// (group, layer, step) and the seed as key is below `threshold`; group = (n V + v) ceil(C / 4) + c / 4. So a mask
/// depends on neither layout, type, threads nor device.
struct DropoutMask {
    std::uint32_t layer = 0;
    std::uint32_t threshold = 0;                   ///< the share that is dropped, of 2^32
    float scale = 1;                               ///< of what is kept
    const std::uint64_t* seed_and_step = nullptr;  ///< two numbers, in memory of the device
};

/// The upper 24 bits keep it apart from the program's other streams (engine/random.h), the rest belongs to the step.
constexpr std::uint32_t kDropoutPurpose = 7;

IWSEG_HOST_DEVICE inline PhiloxCounter dropout_bits(std::uint32_t group, std::uint32_t layer, std::uint64_t seed,
                                                    std::uint64_t step) {
    const auto step_high = static_cast<std::uint32_t>(step >> 32 & 0xFF);
    return philox({{group, layer, static_cast<std::uint32_t>(step), kDropoutPurpose << 8 | step_high}},
                  static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// Throws std::invalid_argument where the tensors are not of one form, or are of more groups than are counted.
inline void require_droppable(const View& x, const View& y) {
    require_same_form(x, y, "dropout");
    if (x.shape.n * x.shape.voxels() * ((x.shape.c + 3) / 4) > 0xFFFFFFFF)
        throw std::invalid_argument("dropout: a tensor of more elements than a mask has");
}

}  // namespace iwseg

/// y = x times the mask's scale where it keeps, times 0 where it drops, or += it: forward, and of the gradient. y may
/// be x. (N, C, D, H, W), f32 or bf16, of one form.
IWSEG_BACKENDS(void dropout(Stream stream, View x, DropoutMask mask, View y, Write write);)
