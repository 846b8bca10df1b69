#pragma once

#include <string>

#include "engine/tensor.h"

namespace iwseg {

struct PreluOptions {
    bool per_channel = false;  ///< a slope for each channel, else one for all
    float slope = 0.25f;       ///< what the slopes begin as; PyTorch's
    /// The parameter is NAME.weight, (C) or (1); empty: prelu_0, prelu_1, …
    std::string name = {};
};

/// x above 0, else x times a learned slope (He et al., Delving Deep into Rectifiers, 2015), as PyTorch's PReLU. Its
/// input is kept for the backward pass.
Tensor prelu(Tensor x, const PreluOptions& options = {});

}  // namespace iwseg
