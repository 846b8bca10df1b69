#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/device/view.h"
#include "models/network.h"
#include "models/unet_style.h"

namespace iwseg {

/// A U-Net with a residual encoder as nnU-Net's ResEnc plans have it (its ResidualEncoderUNet; Isensee et al., MICCAI
/// 2024): a stem, stages of blocks of two convolutions beside a shortcut, which is averaged where the block strides and
/// projected where channels differ; the decoder of the plain one.
struct ResidualEncoderUnetOptions {
    int in_channels = 1, out_channels = 1;
    std::vector<int> widths{32, 64, 128, 256, 320, 320};  ///< of its stages, two or more
    std::vector<Sides> strides = {};                      ///< of each stage's first block; empty: 1, then 2
    std::vector<Sides> kernels = {};                      ///< of each stage; empty: 3
    std::vector<int> blocks = {};                         ///< of each stage; empty: 1, 3, 4, then 6
    std::vector<int> decoder_convs = {};  ///< of each of the decoder's stages, the deepest first; empty: 1
    UnetStyle style = {};
};

/// Parameters have the names of nnU-Net's state_dict. Throws InputError where options do not fit together; the network
/// refuses patches as the plain U-Net does.
Network residual_encoder_unet(const ResidualEncoderUnetOptions& options);

/// The network that a weights file was written for, read from the shapes in its header, and what its metadata say.
/// Throws InputError, naming the file, where it is not such a network's.
Network residual_encoder_unet_of_weights(const std::string& file,
                                         std::map<std::string, std::string>* metadata = nullptr);

}  // namespace iwseg
