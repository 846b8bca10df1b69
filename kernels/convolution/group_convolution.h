#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"

/// Groups of whole blocks of channels, one after another by the rows of row_convolution.h: what a convolution of a
/// group's channels costs, where oneDNN 2.6 takes 2.5 times as long. Results and gradients of sources.
namespace iwseg::cpu {

bool group_convolution_works(const ConvolutionOptions& options);

/// Throws std::invalid_argument on what group_convolution_works says no to, and where gradients of weights are wanted.
std::unique_ptr<Convolution> make_group_convolution(const ConvolutionOptions& options, ConvolutionPasses passes);

}  // namespace iwseg::cpu
