// The direct convolution kernels on the executor, in order and by random schedules, and on a GPU where there is one.
#include "kernels/convolution_direct.h"

#include "tests/convolution_fixture.h"

namespace iwseg {
namespace {

class DirectConvolution : public ConvolutionTest {
  protected:
    std::unique_ptr<Convolution> make(const ConvolutionOptions& options) const override {
        return GetParam() == Backend::cuda ? cuda::make_direct_convolution(options, {})
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
        ConvolutionOptions o = options_of({below(1, 2), i % 4 + 1, below(1, 9), below(1, 17), below(1, 70)}, 8 * below(1, 4), 3);
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
        ConvolutionOptions o = options_of({below(1, 3), 8 * below(1, i % 4 == 3 ? 64 : 6), below(1, 9), below(1, 9), below(1, 9)},
                                          i % 4 + 1, 1);
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

TEST_P(DirectConvolution, RefusesWhatItCannotTake) {
    ConvolutionOptions o = options_of({1, 3, 2, 2, 2}, 3, 5);
    EXPECT_THROW(make(o), std::invalid_argument);
    o.kernel = 3;
    o.src_layout = Layout::blocked8;
    EXPECT_THROW(make(o), std::invalid_argument);
    o.src_layout = Layout::ndhwc;
    const auto convolution = make(o);
    const KernelTensor src(*device_, Shape{1, 3, 2, 2, 1}, Layout::ndhwc, Type::f32), dst(*device_, o.dst(), Layout::ndhwc, Type::f32);
    EXPECT_THROW(convolution->forward({}, src.view(), nullptr, nullptr, dst.view(), nullptr), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, DirectConvolution, testing::Values(Backend::simt, Backend::cuda),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace iwseg
