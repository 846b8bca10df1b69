#pragma once

#include <vector>

#include "kernels/convolution/convolution.h"
#include "tests/support/operation_forms.h"

namespace iwseg {

/// Tests of a convolution's passes, on random operands.
class ConvolutionPassTest : public OperationTest {
  protected:
    /// What a convolution is called with, as its definition has it.
    struct Operands {
        Array src, before, diff;
        std::vector<double> weights, bias;
    };
    Operands operands(const ConvolutionOptions& o) {
        return {noise(o.src), noise(o.dst()), noise(o.dst()), noise(o.weight_count()), noise(o.dst_channels)};
    }
};

}  // namespace iwseg
