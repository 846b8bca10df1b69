#pragma once

#include "kernels/convolution/convolution.h"

namespace iwseg::cpu {

/// What is multiplied, whatever is stored: bf16 where that is fast or asked for, else f32.
Type operand_type(const ConvolutionOptions& options);

}  // namespace iwseg::cpu
