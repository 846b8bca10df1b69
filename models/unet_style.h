#pragma once

namespace iwseg {

/// What is alike in all of a network's convolutions and norms: of each that nnU-Net's plans may change, its default.
struct UnetStyle {
    bool conv_bias = true;  ///< of all convolutions but the last, whose bias is always there
    float epsilon = 1e-5f;  ///< of InstanceNorm, above 0
    float slope = 0.01f;    ///< of LeakyReLU, from 0 (ReLU) to below 1
};

}  // namespace iwseg
