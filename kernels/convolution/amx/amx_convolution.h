#pragma once

#include <memory>

#include "kernels/convolution/amx/tile_products.h"
#include "kernels/convolution/convolution.h"

/// Convolutions of bf16 tensors in blocks of 16 channels by the processor's tiles (AMX): any kernel and stride, in one
/// group. Sums are of f32; elements below the least normal one count as 0, as the instruction has it.
namespace iwseg::cpu {

/// Whether it is for these tensors, on a processor that has tiles.
bool amx_takes(const ConvolutionOptions& options);

/// Whether it is, and the processor has them and may use them.
bool amx_convolution_works(const ConvolutionOptions& options);

/// Runs on at most as many threads as the stream has. Throws std::invalid_argument on what amx_takes says no to.
std::unique_ptr<Convolution> make_amx_convolution(Stream stream, const ConvolutionOptions& options,
                                                  ConvolutionPasses passes, const TileProducts& products);

/// The same by the processor's own tiles; throws where amx_convolution_works says no.
std::unique_ptr<Convolution> make_amx_convolution(Stream stream, const ConvolutionOptions& options,
                                                  ConvolutionPasses passes);

}  // namespace iwseg::cpu
