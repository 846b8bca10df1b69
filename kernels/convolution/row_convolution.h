#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"

/// The 3x3x3 convolution of blocked tensors of f32, or of bf16 widened to it, for processors with AVX-512 (row_tile.h).
namespace iwseg::cpu {

bool row_convolution_works(const ConvolutionOptions& options);

/// Throws std::invalid_argument on what row_convolution_works says no to.
std::unique_ptr<Convolution> make_row_convolution(const ConvolutionOptions& options, ConvolutionPasses passes);

}  // namespace iwseg::cpu
