// The CPU's convolutions by Winograd's transforms, for every set of vectors that the processor has, against double
// precision and beside the direct sums.
#include "kernels/convolution/winograd/winograd_convolution.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>

#include "kernels/convolution/taps/tap_convolution.h"
#include "tests/support/winograd_passes.h"

namespace iwseg {
namespace {

TEST_P(WinogradConvolution, AgreesForEveryWidthAndHeight) {
    expect_right_for_every_width_and_height();
}

TEST_P(WinogradConvolution, AgreesForEveryNumberOfChannels) {
    expect_right_for_every_number_of_channels();
}

TEST_P(WinogradConvolution, AgreesForSidesOfOneVoxel) {
    for (const Shape& sides :
         {Shape{1, 20, 1, 1, 1}, Shape{2, 9, 1, 4, 1}, Shape{1, 16, 3, 1, 9}, Shape{3, 5, 4, 1, 1}})
        for (const int depth : {1, 3}) expect_right(options(sides, below(1, 40), depth));
}

TEST_P(WinogradConvolution, AgreesWhereTilesOfARowAreCut) {
    // More than the 64 tiles of a step in one row, and a plane of several regions.
    expect_right(any({1, 3, 2, 3, 131}, 5));
    expect_right(any({1, 2, 3, 2, 259}, 3));
    expect_right(any({1, 3, 2, 37, 38}, 9));
    // More steps than items, some of which go from one region to the next.
    expect_right(any({1, 3, 9, 37, 38}, 5));
}

TEST_P(WinogradConvolution, AgreesWhereAStepHasPlanesOfSeveralSamples) {
    expect_right(any({3, 17, 5, 4, 3}, 18));
    expect_right(any({5, 3, 1, 5, 6}, 4));
    expect_right(any({2, 3, 70, 1, 2}, 4));
}

TEST_P(WinogradConvolution, AgreesWhereOutputsAreDivided) {
    expect_right(any({2, 150, 2, 3, 5}, 200));
    expect_right(any({1, 90, 2, 5, 3}, 130));
}

TEST_P(WinogradConvolution, ComputesEachCallWithItsOwnWeights) {
    const ConvolutionOptions o = options({2, 20, 3, 7, 6}, 35);
    for (const cpu::Vectors v : vectors()) {
        const auto convolution = cpu::make_winograd_convolution(stream(), o, {}, v);
        const auto w = blank(static_cast<std::size_t>(o.weight_count()));
        const auto work = scratch(convolution->scratch_bytes());
        for (int call = 0; call < 3; ++call) {
            SCOPED_TRACE(testing::Message() << "call " << call);
            const Operands with = operands(o);
            expect_right(o, with, run(*convolution, o, with, stream(), w, work));
        }
    }
}

TEST_P(WinogradConvolution, HasTheSameBytesOnAnyNumberOfThreads) {
    // With 16 and 40 the work is cut into more items.
    for (const ConvolutionOptions& o :
         {options({2, 24, 5, 13, 11}, 40), options({1, 70, 3, 4, 5}, 130), options({2, 16, 3, 40, 33}, 16, 1)})
        for (const cpu::Vectors v : vectors()) expect_same_bytes_by({2, 3, 5, 16, 40}, o, v);
}

TEST_P(WinogradConvolution, IsNearlyAsExactAsTheDirectSums) {
    if (GetParam().type == Type::bf16) GTEST_SKIP() << "of bf16 the result's rounding is all that is seen";
    // Weights as networks begin with, operands of all bits of an f32: normal ones, and what ReLU leaves of them. The
    // transforms round too, but sums of products are 9 times shorter. Measured of the direct sums' error in 20 runs:
    // 0.6 to 1.0 times from 16 channels on, up to 1.1 at 8, 1.4 at 4 and 2.5 at 1; for gradients of weights, whose sums
    // are short here, up to 2.4 from 16 on, 2.6 at 8 and 3.6 at 1.
    for (const std::int64_t channels : {1, 4, 8, 16, 48, 320}) {
        const double allowed = channels < 8 ? 4 : 1.5, allowed_weights = channels < 8 ? 6 : 3.5;
        const ConvolutionOptions o = options({1, channels, 3, 6, 7}, channels > 100 ? 16 : channels);
        for (const bool relu : {false, true}) {
            Operands with = operands(o);
            std::normal_distribution<float> normal;
            for (double& w : with.weights)
                w = normal(random_) * static_cast<float>(std::sqrt(2.0 / static_cast<double>(27 * channels)));
            for (Array* const one : {&with.src, &with.diff})
                for (double& value : one->values) {
                    value = normal(random_);
                    if (relu && value < 0) value = 0;
                }
            const Passes right = expected(o, with);
            for (const cpu::Vectors v : vectors()) {
                const Passes direct = run(*cpu::make_tap_convolution(o, {}, v), o, with, stream());
                const Passes got = run(o, with, v, stream());
                EXPECT_LT(relative_error(got.dst, right.dst), allowed * relative_error(direct.dst, right.dst));
                EXPECT_LT(relative_error(got.diff_src, right.diff_src),
                          allowed * relative_error(direct.diff_src, right.diff_src));
                EXPECT_LT(relative_error(got.diff_weights, right.diff_weights),
                          allowed_weights * relative_error(direct.diff_weights, right.diff_weights));
            }
        }
    }
}

TEST_P(WinogradConvolution, IsNotFiniteExactlyWhereItsKernelTouchesWhatIsNot) {
    for (const int depth : {1, 3}) expect_not_finite_where_touched(depth);
}

TEST_P(WinogradConvolution, RefusesWhatItCannotTake) {
    const ConvolutionOptions right = options({1, 16, 2, 2, 2}, 16);
    EXPECT_THROW(cpu::make_winograd_convolution({}, right, {}, cpu::Vectors::none), std::invalid_argument);
    const auto refuses = [&](auto change) {
        ConvolutionOptions o = right;
        change(o);
        EXPECT_THROW(cpu::make_winograd_convolution({}, o, {}), std::invalid_argument);
    };
    refuses([](auto& o) { o.kernel = 1; });
    refuses([](auto& o) { o.kernel = {3, 3, 1}; });
    refuses([](auto& o) { o.stride = {1, 1, 2}; });
    refuses([](auto& o) { o.groups = 2; });
    refuses([](auto& o) { o.padded = false; });
    refuses([](auto& o) { o.src_type = o.src_type == Type::bf16 ? Type::f32 : Type::bf16; });
    refuses([](auto& o) { o.src_layout = o.dst_layout = Layout::ncdhw; });
    refuses([](auto& o) { o.src_layout = Layout::ncdhw; });
}

TEST_P(WinogradConvolution, IsTakenWhereItIsFaster) {
    const bool avx512 = cpu::best_vectors() == cpu::Vectors::avx512;
    if (GetParam().layout == Layout::blocked16 && !avx512) GTEST_SKIP() << "needs AVX-512";
    struct Case {
        ConvolutionOptions options;
        bool forward, weights;  // whether it is taken; the gradient of the source as forward
    };
    std::vector<Case> cases{
        {options({1, 16, 4, 4, 4}, 16), true, true},
        {options({1, 48, 1, 5, 7}, 20, 1), true, true},
        {options({2, 40, 3, 2, 2}, 24), true, true},
        // Gradients of weights of one block of 8.
        {options({2, 16, 6, 8, 8}, 8), true, !avx512},
        {options({2, 16, 6, 8, 8}, 9), true, true},
        // Large weights, on 127 voxels at most or on more.
        {options({1, 256, 4, 4, 7}, 128), false, false},
        {options({2, 256, 4, 4, 4}, 128), true, true},
        {options({1, 256, 4, 4, 7}, 127), true, true},
        {options({1, 256, 1, 8, 8}, 128, 1), false, false},
        // Planes of one row or column.
        {options({1, 16, 40, 1, 9}, 16), false, false},
        {options({1, 16, 40, 9, 1}, 16), false, false},
        {options({1, 16, 40, 1, 9}, 16, 1), false, false},
        {options({1, 16, 40, 9, 1}, 16, 1), false, false},
    };
    const auto other_case = [&](auto change) {
        ConvolutionOptions o = options({1, 16, 4, 8, 8}, 16);
        change(o);
        cases.push_back({o, false, false});
    };
    other_case([](auto& o) { o.kernel = {3, 3, 1}; });
    other_case([](auto& o) { o.kernel = 5; });
    other_case([](auto& o) { o.stride = 2; });
    other_case([](auto& o) { o.src_layout = Layout::ncdhw; });
    for (const auto& [o, forward, weights] : cases) {
        SCOPED_TRACE(testing::Message() << o.src.c << " to " << o.dst_channels << " channels, shape " << o.src.n << " "
                                        << o.src.d << " " << o.src.h << " " << o.src.w << ", kernel " << o.kernel.d
                                        << " " << o.kernel.h << " " << o.kernel.w);
        std::set<Type> operands;  // that it multiplies here
        for (const Bf16Operands one : {Bf16Operands::native, Bf16Operands::widened}) {
            ConvolutionOptions other = o;
            other.bf16_operands = one;
            if (cpu::winograd_convolution_works(other)) operands.insert(cpu::operand_type(other));
        }
        const auto starts = [](const std::string& text) { return text.starts_with("winograd"); };
        const std::string all = cpu::make_convolution({}, o, {})->implementation();
        EXPECT_EQ(starts(all), forward && weights) << all;
        EXPECT_EQ(all.find("forward by [winograd") != std::string::npos, forward && !weights) << all;
        EXPECT_EQ(all.find("data by [winograd") != std::string::npos, forward && !weights) << all;
        EXPECT_EQ(all.find("weights by [winograd") != std::string::npos, false) << all;
        for (const ConvolutionPass pass : {ConvolutionPass::forward, ConvolutionPass::data, ConvolutionPass::weights}) {
            const std::vector<ConvolutionEngine> engines = cpu::convolution_engines({}, o, pass);
            EXPECT_EQ(starts(engines.front().name), pass == ConvolutionPass::weights ? weights : forward)
                << engines.front().name;
            EXPECT_EQ(engines.front().choice, "taken");
            EXPECT_EQ(std::count_if(engines.begin(), engines.end(), [&](const auto& one) { return starts(one.name); }),
                      std::ssize(operands));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, WinogradConvolution, testing::ValuesIn(kWinogradForms),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
