#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"

namespace iwseg::cpu {

/// Whether make_projection is for it.
bool is_projection(const ConvolutionOptions& options);

/// A 1x1x1 convolution from blocked channels to a few plain ones, the network's last: it reads each voxel once, where
/// a blocked convolution would compute and write a whole block for one channel. dst is ncdhw.
std::unique_ptr<Convolution> make_projection(const ConvolutionOptions& options);

}  // namespace iwseg::cpu
