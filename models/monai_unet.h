#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/device/view.h"
#include "models/monai_style.h"
#include "models/network.h"

namespace iwseg {

/// MONAI's UNet (monai.networks.nets.UNet of three dimensions; Kerfoot et al., Left-Ventricle Quantification Using
/// Residual U-Net, 2018): levels that begin with a strided convolution, or a residual unit of several, and end with a
/// transposed one, joined by concatenation; after each convolution a norm and an activation.
struct MonaiUnetOptions {
    int in_channels = 1, out_channels = 1;
    std::vector<int> widths{16, 32, 64, 128, 256};  ///< channels, the top level's first; two or more
    Sides kernel = 3, up_kernel = 3;                ///< odd
    int residual_units = 2;                         ///< convolutions of a residual unit; 0: single ones, no shortcuts
    bool bias = true;                               ///< of convolutions
    MonaiStyle style = {};
};

/// Parameters have the names of MONAI's state_dict. Throws InputError where options do not fit together; the network
/// refuses patches whose sides are not multiples of all strides.
Network monai_unet(const MonaiUnetOptions& options);

/// The network that a weights file was written for, read from the shapes in its header and its metadata, which are
/// given too. Throws InputError, naming the file, where it is not such a network's.
Network monai_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata = nullptr);

}  // namespace iwseg
