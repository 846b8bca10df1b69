// The CPU's own 3x3x3 convolution against double precision, where the processor has AVX-512.
#include "kernels/convolution/row_convolution.h"

#include "kernels/convolution/row_tile.h"
#include "tests/support/convolution_fixture.h"

namespace iwseg {
namespace {

class RowConvolution : public ConvolutionTest {
  protected:
    void SetUp() override {
        if (!cpu::row_tiles_work()) GTEST_SKIP() << "needs AVX-512";
        ConvolutionTest::SetUp();
    }
    std::unique_ptr<Convolution> make(const ConvolutionOptions& options) const override {
        return cpu::make_row_convolution(options, {});
    }
    ConvolutionOptions any(const Shape& src, std::int64_t outputs) {
        ConvolutionOptions options = options_of(src, outputs, 3, below(0, 1) ? Layout::blocked16 : Layout::blocked8);
        options.bias = below(0, 1) == 1;
        options.write = below(0, 1) ? Write::accumulate : Write::overwrite;
        return options;
    }
};

TEST_P(RowConvolution, AgreesForEveryWidthOfATile) {
    // One to three rows a tile, one to three tiles across; heights that leave rows of the last tile outside.
    for (std::int64_t width = 1; width <= 54; ++width)
        expect_right(any({1, below(1, 20), below(1, 3), below(1, 5), width}, below(1, 20)), "rows");
}

TEST_P(RowConvolution, AgreesForSeveralBlocksAndSamples) {
    for (int i = 0; i < 12; ++i)
        expect_right(any({below(1, 3), below(1, 70), below(1, 6), below(1, 9), below(1, 12)}, below(1, 70)), "rows");
}

TEST_P(RowConvolution, AgreesInBf16) {
    for (int i = 0; i < 8; ++i) {
        ConvolutionOptions options = any({2, below(1, 40), below(1, 6), below(1, 9), below(1, 30)}, below(1, 40));
        options.src_type = options.dst_type = Type::bf16;
        expect_right(options, "rows, bf16 widened");
    }
}

TEST_P(RowConvolution, RefusesWhatItCannotTake) {
    EXPECT_THROW(make(options_of({1, 16, 2, 2, 2}, 16, 1, Layout::blocked16)), std::invalid_argument);
    EXPECT_THROW(make(options_of({1, 16, 2, 2, 2}, 16, 3, Layout::ncdhw)), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, RowConvolution, testing::Values(TestBackend::cpu),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace iwseg
