// Convolutions that add to a tensor which others still read.
#include "tests/support/operation_forms.h"

namespace iwseg {
namespace {

class ConvolutionSums : public OperationTest {
  protected:
    ConvolutionOptions options(const Shape& src, std::int64_t outputs, int kernel, bool bias) const {
        ConvolutionOptions o;
        o.src = src;
        o.dst_channels = outputs;
        o.kernel = kernel;
        o.src_layout = o.dst_layout = GetParam().layout;
        o.src_type = o.dst_type = GetParam().type;
        o.bias = bias;
        o.write = Write::accumulate;
        return o;
    }
};

// The same products in the same order: equal to the bit.
TEST_P(ConvolutionSums, ASummandThatLiesElsewhereIsAddedAndStaysAsItIs) {
    for (const int kernel : {1, 3})
        for (const bool bias : {false, true}) {
            const Shape src{below(1, 2), 16, below(1, 5), below(1, 6), below(1, 9)};
            const ConvolutionOptions o = options(src, kernel == 1 ? 24 : 16, kernel, bias);
            const auto convolution = device().make_convolution(stream(), o, {true, false});
            if (!convolution->adds_elsewhere()) continue;
            const KernelTensor x = tensor(noise(src));
            const Array before = noise(o.dst());
            const auto weights = floats(noise(o.dst_channels * src.c * kernel * kernel * kernel));
            const auto shift = floats(noise(o.dst_channels));
            const auto work = scratch(convolution->scratch_bytes());
            on_schedules([&] {
                const KernelTensor inside = tensor(before), summand = tensor(before), sum = empty(o.dst());
                convolution->forward(stream(), x.view(), weights.data(), shift.data(), inside.view(), work.data());
                convolution->forward_sum(stream(), x.view(), weights.data(), shift.data(), summand.view(), sum.view(),
                                         work.data());
                expect_close(sum.array(), inside.array(), 0);
                expect_close(summand.array(), before, 0);
            });
        }
}

TEST_P(ConvolutionSums, OneThatCannotAddElsewhereSaysSo) {
    ConvolutionOptions o = options({1, 16, 2, 2, 2}, 16, 3, false);
    if (GetParam().backend != TestBackend::cpu) o.write = Write::overwrite;
    const auto convolution = device().make_convolution(stream(), o, {true, false});
    const KernelTensor x = empty(o.src), y = empty(o.dst());
    const auto weights = floats(noise(16 * 16 * 27));
    const auto work = scratch(convolution->scratch_bytes());
    EXPECT_THROW(convolution->forward_sum(stream(), x.view(), weights.data(), nullptr, x.view(), y.view(), work.data()),
                 std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Forms, ConvolutionSums, testing::ValuesIn(kForms), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
