#pragma once

#include <optional>
#include <vector>

#include "apps/bench/kernel_case.h"

namespace iwseg {

/// The pass that a kernel's name asks for; nothing where it is no convolution.
std::optional<ConvolutionPass> convolution_pass(const std::string& kernel);

/// The convolution of the options, on a device's activations.
ConvolutionOptions convolution_of(const KernelCaseOptions& options, Layout layout, Type type);

/// One pass, by itself. Its prepare throws InputError, saying how many engines there are, on a variant there is not.
KernelCase make_convolution_case(const KernelCaseOptions& options);

}  // namespace iwseg
