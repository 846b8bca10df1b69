// Winograd's convolutions of bf16 that multiply pairs of channels, against double precision: with the processor's
// instruction where it has one, else with a model of it.
#include <cmath>
#include <vector>

#include "kernels/convolution/taps/tap_convolution.h"
#include "tests/support/winograd_passes.h"

namespace iwseg {
namespace {

class WinogradPairs : public WinogradConvolution {
  protected:
    void SetUp() override {
        WinogradConvolution::SetUp();
        operands_ = Bf16Operands::native;
        const ConvolutionOptions o = options({1, 16, 1, 2, 2}, 16);
        if (cpu::operand_type(o) != Type::bf16 || !cpu::winograd_convolution_works(o))
            GTEST_SKIP() << "needs AVX-512 with BF16; their model AVX-512 and oneDNN";
    }
};

TEST_P(WinogradPairs, AgreeForEveryWidthAndHeight) {
    expect_right_for_every_width_and_height();
}

TEST_P(WinogradPairs, AgreeForEveryNumberOfChannels) {
    expect_right_for_every_number_of_channels();
    expect_right(any({2, 150, 2, 3, 5}, 200));
    expect_right(any({1, 3, 2, 37, 38}, 9));
}

TEST_P(WinogradPairs, AreExactWhereNothingIsRounded) {
    // Transformed weights are quarters up to 9 / 4, transformed elements integers up to 4 x 7: bf16 holds 8 bits.
    ConvolutionOptions o = options({2, 20, 3, 7, 6}, 35);
    Operands with = operands(o);
    for (double& w : with.weights) w = below(-1, 1);
    for (Array* const one : {&with.src, &with.diff})
        for (double& value : one->values) value = below(-7, 7);
    const Passes right = expected(o, with), got = run(o, with, cpu::Vectors::avx512, stream());
    for (std::size_t i = 0; i < right.dst.values.size(); ++i)
        EXPECT_EQ(got.dst.values[i], round_to_bf16(static_cast<float>(right.dst.values[i]))) << i;
    for (std::size_t i = 0; i < right.diff_src.values.size(); ++i)
        EXPECT_EQ(got.diff_src.values[i], round_to_bf16(static_cast<float>(right.diff_src.values[i]))) << i;
}

TEST_P(WinogradPairs, AreNearlyAsExactAsDirectSums) {
    // Direct sums of bf16 round weights, and their result. Here what is transformed is rounded, weights and the source.
    // Weights as networks begin with; a source of normal elements, and of what ReLU leaves of them. Measured of the
    // direct sums' error: 1.5 to 2 times.
    for (const std::int64_t channels : {1, 4, 16, 48, 320}) {
        const ConvolutionOptions o = options({1, channels, 3, 6, 7}, channels > 100 ? 16 : channels);
        for (const bool relu : {false, true}) {
            Operands with = operands(o);
            std::normal_distribution<float> normal;
            for (double& w : with.weights)
                w = normal(random_) * static_cast<float>(std::sqrt(2.0 / static_cast<double>(27 * channels)));
            for (double& value : with.src.values)
                if (relu && value < 0) value = 0;
            const Passes right = expected(o, with), got = run(o, with, cpu::Vectors::avx512, stream());
            Operands rounded = with;
            for (double& w : rounded.weights) w = round_to_bf16(static_cast<float>(w));
            Array direct = expected(o, rounded).dst;
            for (double& value : direct.values) value = round_to_bf16(static_cast<float>(value));
            EXPECT_LT(relative_error(got.dst, right.dst), 3 * relative_error(direct, right.dst));
        }
    }
}

TEST_P(WinogradPairs, HaveTheSameBytesOnAnyNumberOfThreads) {
    for (const ConvolutionOptions& o : {options({2, 24, 5, 13, 11}, 40), options({2, 16, 3, 40, 33}, 16, 1)})
        expect_same_bytes_by({2, 5, 16}, o, cpu::Vectors::avx512);
}

TEST_P(WinogradPairs, AreNotFiniteExactlyWhereTheirKernelTouchesWhatIsNot) {
    expect_not_finite_where_touched(3);
}

INSTANTIATE_TEST_SUITE_P(Forms, WinogradPairs,
                         testing::Values(OperationForm{TestBackend::cpu, Layout::blocked16, Type::bf16}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
