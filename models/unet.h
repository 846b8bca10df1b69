#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "models/network.h"

namespace iwseg {

/// The residual pre-activation 3D U-Net (docs/design.md, section 5). Sides are multiples of 8.
struct UnetOptions {
    int in_channels = 1;
    int out_channels = 1;
    std::vector<int> widths{16, 64, 128, 256};  ///< of its four levels
};

/// The network's logits (N, out, D, H, W) of an image (N, in, D, H, W). Parameters have the original's state_dict
/// names. Throws InputError where a side is not a multiple of 8, or where there are not four widths.
Tensor unet(Tensor image, const UnetOptions& options);
/// The same as a value.
Network unet(const UnetOptions& options);

/// The network that a weights file was written for, read from the shapes in its header, and what its metadata say. The
/// weights are not read. Throws InputError, naming the file, where it is not such a network's.
Network unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata = nullptr);

}  // namespace iwseg
