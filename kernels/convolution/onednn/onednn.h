#pragma once

#include <memory>

#include "kernels/convolution/convolution.h"
#include "kernels/cpu/instruction_set.h"

/// Convolutions by oneDNN, where it is part of the build (CMake's IWSEG_ONEDNN); else kernels/convolution/no_onednn.cpp
/// stands in the place of this folder's sources.
namespace iwseg::cpu {

/// Whether it is part of this build.
bool has_onednn();

/// Whether convolutions may use these instructions: those of instruction_set.h, which oneDNN keeps to as well, unless a
/// host has used it before and it is held to fewer.
bool convolutions_use(InstructionSet wanted);

/// A convolution by oneDNN. The gradient of weights is by weight_gradient.h where that takes it, unless
/// own_weight_gradient is false. Null where it is not part of this build, and where the convolution is not plain and
/// oneDNN has its reference alone or is not to be trusted. Throws InputError where oneDNN makes none.
std::unique_ptr<Convolution> make_onednn_convolution(Stream stream, const ConvolutionOptions& options,
                                                     ConvolutionPasses passes, bool own_weight_gradient = true);

}  // namespace iwseg::cpu
