#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"
#include "kernels/convolution/taps/vectors.h"

/// Convolutions of 3x3x3 and 1x3x3 at stride 1 in one group, of f32 or bf16 in blocks of channels, with 2.25 times
/// fewer multiplications than the direct sum (winograd_pass.h, winograd_gradient.h). bf16 is widened; or, with
/// AVX-512's bf16 extension in blocks of 16, results and gradients of sources are made of pairs of bf16. For processors
/// with AVX-512, or with AVX2 or NEON in blocks of 8.
///
/// What is not finite in the source is so in exactly those results that its kernel touches, as in the direct sum; but
/// infinity may come out as NaN.
namespace iwseg::cpu {

bool winograd_convolution_works(const ConvolutionOptions& options, Vectors vectors = best_vectors());

/// To be run on that stream: scratch has something for each of its threads. Throws std::invalid_argument on what
/// winograd_convolution_works says no to.
std::unique_ptr<Convolution> make_winograd_convolution(Stream stream, const ConvolutionOptions& options,
                                                       ConvolutionPasses passes, Vectors vectors = best_vectors());

}  // namespace iwseg::cpu
