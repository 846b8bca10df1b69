// The direct convolution kernels on the executor, in order and by random schedules, and on a GPU where there is one.
#include "kernels/convolution/direct.h"

#include "tests/support/convolution_fixture.h"

namespace iwseg {
namespace {

class DirectConvolution : public ConvolutionTest {
  protected:
    std::unique_ptr<Convolution> make(const ConvolutionOptions& options) const override {
        return GetParam() == TestBackend::cuda ? cuda::make_direct_convolution(options, {})
                                               : simt::make_direct_convolution(options, {});
    }
};

TEST_P(DirectConvolution, AgreesInEveryLayoutAndType) {
    for (int i = 0; i < 32; ++i) {
        // Odd channels, as the fast paths do not take them.
        ConvolutionOptions o = options_of({below(1, 2), 2 * below(0, 6) + 1, below(1, 5), below(1, 6), below(1, 9)},
                                          2 * below(1, 9) + 1, i % 2 ? 3 : 1);
        if (i & 2) o.src_layout = Layout::ncdhw;
        if (i & 4) o.dst_layout = Layout::ncdhw;
        if (i & 8) o.src_type = Type::bf16;
        if (i & 16) o.dst_type = Type::bf16;
        o.bias = random_() % 2;
        o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
        expect_right(o, "direct");
    }
}

TEST_P(DirectConvolution, AgreesForMoreRowsThanParts) {
    expect_right(options_of({2, 3, 17, 40, 2}, 5, 3), "direct");
}

TEST_P(DirectConvolution, FirstOfTheNetworkAgrees) {
    for (int i = 0; i < 16; ++i) {
        ConvolutionOptions o =
            options_of({below(1, 2), i % 4 + 1, below(1, 9), below(1, 17), below(1, 70)}, 8 * below(1, 4), 3);
        if (i != 3) o.src_layout = Layout::ncdhw;
        o.src_type = i / 4 % 2 ? Type::bf16 : Type::f32;
        o.dst_type = i / 8 % 2 ? Type::bf16 : Type::f32;
        o.bias = random_() % 2;
        o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
        expect_right(o, "direct, few to many");
    }
}

TEST_P(DirectConvolution, FirstOfTheNetworkAgreesForMoreTilesThanBlocks) {
    ConvolutionOptions o = options_of({2, 1, 62, 134, 3}, 8, 3);
    o.src_layout = Layout::ncdhw;
    o.src_type = o.dst_type = Type::bf16;
    expect_right(o, "direct, few to many");
}

TEST_P(DirectConvolution, LastOfTheNetworkAgrees) {
    for (int i = 0; i < 16; ++i) {
        ConvolutionOptions o = options_of(
            {below(1, 3), 8 * below(1, i % 4 == 3 ? 64 : 6), below(1, 9), below(1, 9), below(1, 9)}, i % 4 + 1, 1);
        o.dst_layout = Layout::ncdhw;
        o.src_type = i / 4 % 2 ? Type::bf16 : Type::f32;
        o.bias = random_() % 2;
        o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
        expect_right(o, "direct, many to few");
    }
}

TEST_P(DirectConvolution, LastOfTheNetworkTakesAsManyInputsAsItsWeightsHaveRoomFor) {
    for (const std::int64_t outputs : {1, 3, 4, 5})
        for (const std::int64_t inputs : {504, 512, 520}) {
            ConvolutionOptions o = options_of({1, inputs, 2, 3, 4}, outputs, 1);
            o.dst_layout = Layout::ncdhw;
            expect_right(o, outputs <= 4 && inputs <= 512 ? "direct, many to few" : "direct");
        }
}

TEST_P(DirectConvolution, LastOfTheNetworkAgreesForMoreVoxelsThanAllThreads) {
    ConvolutionOptions o = options_of({2, 64, 16, 32, 40}, 1, 1);
    o.src_type = Type::bf16;
    o.dst_layout = Layout::ncdhw;
    expect_right(o, "direct, many to few");
}

TEST_P(DirectConvolution, FirstOfTheNetworkTakesOutputsByEight) {
    for (const std::int64_t outputs : {4, 8, 12, 16, 20})
        expect_right(options_of({1, 2, 3, 4, 5}, outputs, 3), outputs % 8 == 0 ? "direct, few to many" : "direct");
}

// Weights that bf16 does not hold are rounded to it where the source is bf16: results are those of the rounded weights,
// to f32's rounding, which is a hundredth of bf16's.
TEST_P(DirectConvolution, WeightsAreRoundedToTheSourcesType) {
    struct Case {
        std::int64_t inputs, outputs;
        int kernel;
        const char* implementation;
    };
    for (const Case& one :
         {Case{3, 5, 3, "direct"}, {2, 8, 3, "direct, few to many"}, {16, 3, 1, "direct, many to few"}})
        for (const Type type : {Type::f32, Type::bf16}) {
            ConvolutionOptions o = options_of({1, one.inputs, 3, 4, 5}, one.outputs, one.kernel);
            o.src_type = type;
            if (one.kernel == 1) o.dst_layout = Layout::ncdhw;
            const auto convolution = make(o);
            ASSERT_EQ(convolution->implementation(), one.implementation);
            const Array x = noise(o.src);
            std::vector<float> weights(
                static_cast<std::size_t>(one.outputs * one.inputs * one.kernel * one.kernel * one.kernel));
            for (float& weight : weights) weight = std::normal_distribution<float>()(random_);
            std::vector<double> expected(weights.begin(), weights.end());
            for (double& weight : expected)
                if (type == Type::bf16) weight = round_to_bf16(static_cast<float>(weight));
            const KernelArray<float> w(*device_, weights);
            const auto scratch = kernel_scratch(*device_, convolution->scratch_bytes());
            const KernelTensor src(*device_, x, o.src_layout, type), dst(*device_, o.dst(), o.dst_layout, Type::f32);
            convolution->forward({}, src.view(), w.data(), nullptr, dst.view(), scratch.data());
            expect_near(one.implementation, dst.array().values,
                        reference::convolution(x, expected, {}, one.outputs, one.kernel).values, Type::f32);
        }
}

TEST_P(DirectConvolution, RefusesWhatItCannotTake) {
    ConvolutionOptions o = options_of({1, 3, 2, 2, 2}, 3, 4);
    EXPECT_THROW(make(o), std::invalid_argument);
    o.kernel = 3;
    o.src_layout = Layout::blocked8;
    EXPECT_THROW(make(o), std::invalid_argument);
    o.src_layout = Layout::ndhwc;
    const auto convolution = make(o);
    const KernelTensor src(*device_, Shape{1, 3, 2, 2, 1}, Layout::ndhwc, Type::f32),
        dst(*device_, o.dst(), Layout::ndhwc, Type::f32);
    EXPECT_THROW(convolution->forward({}, src.view(), nullptr, nullptr, dst.view(), nullptr), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, DirectConvolution, testing::Values(TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace iwseg
