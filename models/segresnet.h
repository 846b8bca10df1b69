#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/monai_style.h"
#include "models/network.h"

namespace iwseg {

/// MONAI's SegResNet of three dimensions (Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization,
/// 2018, without the autoencoder): pre-activated residual blocks, halved by strided convolutions, doubled trilinearly
/// after a 1 x 1 x 1 convolution or by transposed ones, joined by addition. Filters double from level to level.
struct SegResNetOptions {
    int in_channels = 1, out_channels = 1;
    int filters = 8;                           ///< of the top level
    std::vector<int> blocks_down{1, 2, 2, 4};  ///< of each level, two or more
    std::vector<int> blocks_up{1, 1, 1};       ///< the deepest first; one level fewer
    bool transposed = false;                   ///< MONAI's upsample_mode "deconv", else "nontrainable"
    /// activation: relu or leaky_relu; strides are not read.
    MonaiStyle style{.norm = MonaiStyle::Norm::group, .activation = MonaiStyle::Activation::relu};
};

/// Parameters have the names of MONAI's state_dict. Throws InputError where options do not fit together; the network
/// refuses patches whose sides are not multiples of 2 for each level but the deepest.
Network segresnet(const SegResNetOptions& options);

/// With MONAI's numbers of blocks where there are four widths. Throws InputError where widths do not double.
Network segresnet(int in_channels, const std::vector<int>& widths, int out_channels = 1);

/// The network that a weights file was written for, read from the shapes in its header and its metadata, which are
/// given too. Throws InputError, naming the file, where it is not such a network's.
Network segresnet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata = nullptr);

}  // namespace iwseg
