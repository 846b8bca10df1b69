#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"

namespace iwseg::cpu {

/// What is multiplied, whatever is stored: bf16 where that is fast or asked for, else f32.
Type operand_type(const ConvolutionOptions& options);

/// A convolution by oneDNN. The gradient of weights is by weight_gradient.h where that takes it, unless
/// own_weight_gradient is false. Null where it is not plain and oneDNN has its reference alone or is not to be trusted.
/// Throws InputError where oneDNN makes none, std::invalid_argument on a plain result of a blocked source.
std::unique_ptr<Convolution> make_onednn_convolution(Stream stream, const ConvolutionOptions& options,
                                                     ConvolutionPasses passes, bool own_weight_gradient = true);

}  // namespace iwseg::cpu
