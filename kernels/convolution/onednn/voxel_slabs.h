#pragma once

#include <cstdint>
#include <memory>

#include "kernels/convolution/convolution.h"

namespace iwseg::cpu {

/// Voxels that a forward pass of a 1x1x1 convolution is given at once, as planes of (1, C, planes, H, W); 0: all of
/// them. Of bf16 in a single block of channels to a single one, oneDNN 2.6 asks for a result in f32 for each thread,
/// 57 MB each for 96^3 voxels; of slabs of some MB they stay in the caches. In place, where f32 goes by slabs too, a
/// slab's result lies beside the tensor until its source is read.
std::int64_t slab_planes(const ConvolutionOptions& options, ConvolutionPasses passes);

/// options with the source of a slab.
ConvolutionOptions slab_of(const ConvolutionOptions& options, std::int64_t planes);

/// The whole, slab by slab. slab: the convolution of slab_of(options, planes), for forward passes.
std::unique_ptr<Convolution> make_slab_convolution(const ConvolutionOptions& options, std::int64_t planes,
                                                   std::unique_ptr<Convolution> slab);

}  // namespace iwseg::cpu
