#pragma once

#include "kernels/components/inverse_weights.h"
#include "kernels/loss/class_channels.h"

namespace iwseg {

/// What of a loss of several classes is not in its name.
struct ClassLossOptions {
    ClassChannels channels = {};
    int connectivity = 26;  ///< of each class's components, for terms that look at lesions and for inverse weights
    WeightClip weight_clip = {};
};

}  // namespace iwseg
