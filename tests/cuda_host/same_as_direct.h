#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "engine/device_memory.h"
#include "kernels/convolution/direct.h"
#include "kernels/device/backend.h"
#include "tests/cuda_host/on_card.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {

/// All three passes by cuDNN against the direct kernels, which have tests of their own. Results in bf16 are rounded to
/// 2^-9 of themselves; f32 differs by the order of sums.
inline void expect_same_as_direct(const ConvolutionOptions& options, std::mt19937& random) {
    const View src_like{nullptr, options.src, options.src_type, Layout::ndhwc},
        dst_like{nullptr, options.dst(), options.src_type, Layout::ndhwc};
    const auto& [d, h, w] = options.kernel;
    const View weights_like{nullptr, {options.dst_channels, options.inputs(), d, h, w}},
        bias_like{nullptr, {1, 1, 1, 1, options.dst_channels}};
    const double allowed = options.src_type == Type::bf16 ? 1e-2 : 1e-5;
    const OnCard src(src_like, random), weights(weights_like, random), bias(bias_like, random), diff(dst_like, random);
    std::mt19937 same = random, again = random;
    std::vector<std::vector<float>> results[2];
    for (const bool direct : {false, true}) {
        const auto one = direct ? cuda::make_direct_convolution(options, {}) : cuda::make_convolution({}, options, {});
        if (!direct) {
            EXPECT_EQ(one->implementation().find("direct"), std::string::npos) << one->implementation();
        }
        const DeviceMemory scratch(cuda::backend(), one->scratch_bytes());
        std::mt19937& filled = direct ? again : same;
        const OnCard dst(dst_like, filled), diff_src(src_like, filled), diff_weights(weights_like, filled),
            diff_bias(bias_like, filled);
        float* biases = options.bias ? bias.floats() : nullptr;
        one->forward({}, src.view(), weights.floats(), biases, dst.view(), scratch.data());
        one->backward_data({}, diff.view(), weights.floats(), diff_src.view(), scratch.data());
        one->backward_weights(KernelStream(cuda::backend()), src.view(), diff.view(), diff_weights.floats(),
                              options.bias ? diff_bias.floats() : nullptr, scratch.data());
        results[direct] = {dst.read(), diff_src.read(), diff_weights.read(), diff_bias.read()};
    }
    for (std::size_t i = 0; i < 4; ++i)
        EXPECT_LT(largest_difference(results[0][i], results[1][i]), allowed) << "result " << i;
}

}  // namespace iwseg
