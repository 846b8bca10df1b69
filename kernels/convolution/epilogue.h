#pragma once

#include "kernels/device/view.h"
#include "kernels/norm/batch_norm.h"

namespace iwseg {

/// What a convolution is to make of its result before that goes to memory, in prediction: a batch normalisation by
/// statistics that are known before, then an activation. By default nothing. oneDNN's ReLU multiplies what is below 0
/// by 1e-20, so that what is not a number stays so: minus infinity stays too, where a pass of its own leaves 0.
struct EpilogueForm {
    bool wanted = false;
    bool normalises = false;
    bool beside = false;  ///< the result is wanted too: dst is the result, what is made of it goes elsewhere
    NormActivation activation = kNoActivation;
};

/// By what, and where to.
struct Epilogue {
    BatchNormStatistics statistics;  ///< of dst's channels, where the form normalises
    BatchNormWeights weights;
    View beside;  ///< as dst, where the form has two results
};

}  // namespace iwseg
