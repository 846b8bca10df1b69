#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace iwseg {

/// The residual pre-activation 3D U-Net (docs/design.md, section 5). Spatial sizes are multiples of 8.
struct UnetOptions {
    int in_channels = 1;
    int out_channels = 1;
    std::array<int, 4> widths{16, 64, 128, 256};
};

}  // namespace iwseg
