#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/device/view.h"
#include "models/network.h"
#include "models/unet_style.h"

namespace iwseg {

/// A plain U-Net as nnU-Net plans them (its PlainConvUNet; Isensee et al., Nature Methods 2021): stages of convolution,
/// InstanceNorm and LeakyReLU, halved by a strided convolution, doubled by a transposed one, joined by concatenation.
struct PlainUnetOptions {
    int in_channels = 1, out_channels = 1;
    std::vector<int> widths{32, 64, 128, 256, 320};  ///< of its stages, two or more
    /// Of each stage's first convolution, the first stage's being 1 as a rule; empty: 1, then 2.
    std::vector<Sides> strides = {};
    std::vector<Sides> kernels = {};      ///< of each stage; empty: 3
    std::vector<int> convs = {};          ///< of each stage; empty: 2
    std::vector<int> decoder_convs = {};  ///< of each of the decoder's stages, the deepest first; empty: 2
    UnetStyle style = {};
};

/// The network's logits (N, out, D, H, W) of an image (N, in, D, H, W). Parameters have the names of nnU-Net's
/// state_dict. Throws InputError where a side is not a multiple of the product of its strides, where the deepest stage
/// would be a single voxel, and where options do not fit together.
Tensor plain_unet(Tensor image, const PlainUnetOptions& options);
/// The same as a value.
Network plain_unet(const PlainUnetOptions& options);

/// The network that a weights file was written for, read from the shapes in its header, and what its metadata say.
/// Throws InputError, naming the file, where it is not such a network's.
Network plain_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata = nullptr);

}  // namespace iwseg
