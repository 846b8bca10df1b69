#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"
#include "kernels/convolution/taps/vectors.h"

/// Convolutions of any kernel and stride in channel-blocked layout by our own kernels, for processors with AVX2,
/// AVX-512 or NEON: src blocked like dst, or of plain channels; groups of whole blocks or of one channel. bf16 is
/// multiplied as such where options.bf16_operands and the processor say so (operands.h: operand_type), else widened to
/// f32.
namespace iwseg::cpu {

bool tap_convolution_works(const ConvolutionOptions& options, Vectors vectors = best_vectors());

/// Throws std::invalid_argument on what tap_convolution_works says no to.
std::unique_ptr<Convolution> make_tap_convolution(const ConvolutionOptions& options, ConvolutionPasses passes,
                                                  Vectors vectors = best_vectors());

}  // namespace iwseg::cpu
