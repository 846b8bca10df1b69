// The CPU's convolutions by Winograd's transforms, for every set of vectors that the processor has, against double
// precision and beside the direct sums.
#include "kernels/convolution/winograd/winograd_convolution.h"

#include <algorithm>
#include <string>

#include "kernels/convolution/taps/tap_convolution.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/support/convolution_products.h"
#include "tests/support/operation_forms.h"
#include "tests/support/operation_references.h"

namespace iwseg {
namespace {

struct Passes {
    Array dst, diff_src, diff_weights, diff_bias;
};

class WinogradConvolution : public OperationTest {
  protected:
    std::vector<cpu::Vectors> vectors() const {
        std::vector<cpu::Vectors> all;
        for (const cpu::Vectors one : {cpu::Vectors::eight, cpu::Vectors::avx512})
            if (one <= cpu::best_vectors() && (one == cpu::Vectors::avx512 || GetParam().layout == Layout::blocked8))
                all.push_back(one);
        return all;
    }
    void SetUp() override {
        OperationTest::SetUp();
        if (vectors().empty()) GTEST_SKIP() << "needs AVX2 or NEON, or AVX-512 for blocks of 16";
    }

    ConvolutionOptions options(const Shape& src, std::int64_t outputs, int depth = 3) const {
        ConvolutionOptions o;
        o.src = src;
        o.dst_channels = outputs;
        o.kernel = {depth, 3, 3};
        o.src_layout = o.dst_layout = GetParam().layout;
        return o;
    }
    ConvolutionOptions any(const Shape& src, std::int64_t outputs) {
        ConvolutionOptions o = options(src, outputs, below(0, 2) ? 3 : 1);
        o.bias = below(0, 1) == 1;
        o.write = below(0, 1) ? Write::accumulate : Write::overwrite;
        return o;
    }

    /// What a convolution is called with, as its definition has it.
    struct Operands {
        Array src, before, diff;
        std::vector<double> weights, bias;
    };
    Operands operands(const ConvolutionOptions& o) {
        return {noise(o.src), noise(o.dst()), noise(o.dst()), noise(o.weight_count()), noise(o.dst_channels)};
    }

    static Array array_of(const std::vector<float>& values) {
        Array array({1, 1, 1, 1, static_cast<std::int64_t>(values.size())});
        array.values = to_doubles(values);
        return array;
    }

    /// With weights written to `w`, and scratch as an earlier call left it.
    Passes run(Convolution& convolution, const ConvolutionOptions& o, const Operands& with, Stream stream,
               const KernelArray<float>& w, const KernelArray<unsigned char>& work) const {
        std::copy(with.weights.begin(), with.weights.end(), w.data());
        const auto b = floats(with.bias);
        const KernelTensor src = tensor(with.src), dst = tensor(with.before);
        convolution.forward(stream, src.view(), w.data(), b.data(), dst.view(), work.data());
        EXPECT_TRUE(dst.padding_is_zero());
        const KernelTensor diff = tensor(with.diff), diff_src = empty(o.src);
        convolution.backward_data(stream, diff.view(), w.data(), diff_src.view(), work.data());
        EXPECT_TRUE(diff_src.padding_is_zero());
        const KernelArray<float> diff_weights = blank(with.weights.size()), diff_bias = blank(with.bias.size());
        convolution.backward_weights(stream, src.view(), diff.view(), diff_weights.data(),
                                     o.bias ? diff_bias.data() : nullptr, work.data());
        const std::vector<unsigned char> used = work.host();
        EXPECT_TRUE(std::all_of(used.begin() + convolution.scratch_bytes(), used.end(), [](unsigned char byte) {
            return byte == 0xFF;
        })) << "written past the scratch";
        return {dst.array(), diff_src.array(), array_of(diff_weights.host()), array_of(diff_bias.host())};
    }
    Passes run(Convolution& convolution, const ConvolutionOptions& o, const Operands& with, Stream stream) const {
        return run(convolution, o, with, stream, blank(with.weights.size()), scratch(convolution.scratch_bytes()));
    }
    Passes run(const ConvolutionOptions& o, const Operands& with, cpu::Vectors v, Stream stream) const {
        return run(*cpu::make_winograd_convolution(stream, o, {}, v), o, with, stream);
    }

    static Passes expected(const ConvolutionOptions& o, const Operands& with) {
        Passes results{reference::convolution(o, with.src, with.weights, o.bias ? with.bias : std::vector<double>()),
                       Array(o.src), Array({1, 1, 1, 1, o.weight_count()}), Array({1, 1, 1, 1, o.dst_channels})};
        for (std::size_t i = 0; o.write == Write::accumulate && i < results.dst.values.size(); ++i)
            results.dst.values[i] += with.before.values[i];
        each_product(o, [&](std::int64_t to, std::int64_t from, std::int64_t weight) {
            const auto i = static_cast<std::size_t>(to), j = static_cast<std::size_t>(from),
                       k = static_cast<std::size_t>(weight);
            results.diff_src.values[j] += with.diff.values[i] * with.weights[k];
            results.diff_weights.values[k] += with.diff.values[i] * with.src.values[j];
        });
        reference::each(o.dst(), [&](auto n, auto out, auto d, auto h, auto w) {
            results.diff_bias.values[static_cast<std::size_t>(out)] += with.diff.at(n, out, d, h, w);
        });
        return results;
    }

    /// How large results of so many products are, of which the transformed sums are made: the largest of one operand
    /// times the root of the sum of the squares of the other. Not the largest result: where there are few of them all
    /// may be sums that cancel.
    struct Magnitudes {
        double dst, diff_src, diff_weights, diff_bias;
    };
    static double largest(const std::vector<double>& values) {
        double most = 0;
        for (const double v : values) most = std::max(most, std::abs(v));
        return most;
    }
    static Magnitudes magnitudes(const ConvolutionOptions& o, const Operands& with) {
        const auto channels = static_cast<std::size_t>(o.src.c), outputs = static_cast<std::size_t>(o.dst_channels),
                   taps = static_cast<std::size_t>(o.taps());
        std::vector<double> of_output(outputs), of_input(channels), src(channels), diff(outputs);
        for (std::size_t i = 0; i < with.weights.size(); ++i) {
            const double square = with.weights[i] * with.weights[i];
            of_output[i / taps / channels] += square;
            of_input[i / taps % channels] += square;
        }
        const auto each_square = [](const Array& of, std::vector<double>& sums) {
            reference::each(of.shape, [&](auto n, auto c, auto d, auto h, auto w) {
                sums[static_cast<std::size_t>(c)] += of.at(n, c, d, h, w) * of.at(n, c, d, h, w);
            });
        };
        each_square(with.src, src);
        each_square(with.diff, diff);
        return {.dst = largest(with.src.values) * std::sqrt(largest(of_output)) + (o.bias ? largest(with.bias) : 0) +
                       (o.write == Write::accumulate ? largest(with.before.values) : 0),
                .diff_src = largest(with.diff.values) * std::sqrt(largest(of_input)),
                .diff_weights = largest(with.diff.values) * std::sqrt(largest(src)),
                .diff_bias = std::sqrt(largest(diff))};
    }

    static void expect_within(const Array& got, const Array& right, double allowed) {
        for (std::size_t i = 0; i < right.values.size(); ++i)
            ASSERT_NEAR(got.values[i], right.values[i], allowed) << "element " << i;
    }
    /// An f32 is off by 6e-8 of itself, as is each sum on the way. A result is a sum of 9 of the transformed sums,
    /// whose elements are each up to twice as large as a direct sum's. Measured are up to 7e-7.
    static void expect_right(const ConvolutionOptions& o, const Operands& with, const Passes& got) {
        const Passes right = expected(o, with);
        const Magnitudes of = magnitudes(o, with);
        constexpr double kAllowed = 4e-6;
        expect_within(got.dst, right.dst, kAllowed * of.dst);
        expect_within(got.diff_src, right.diff_src, kAllowed * of.diff_src);
        expect_within(got.diff_weights, right.diff_weights, kAllowed * of.diff_weights);
        if (o.bias) expect_within(got.diff_bias, right.diff_bias, kAllowed * of.diff_bias);
    }
    void expect_right(const ConvolutionOptions& o) {
        SCOPED_TRACE(testing::Message() << o.src.n << " x " << o.src.c << " to " << o.dst_channels
                                        << " channels, shape " << o.src.d << " " << o.src.h << " " << o.src.w
                                        << ", depth of the kernel " << o.kernel.d);
        const Operands with = operands(o);
        for (const cpu::Vectors v : vectors()) {
            SCOPED_TRACE(name_of(v));
            expect_right(o, with, run(o, with, v, stream()));
        }
    }
};

TEST_P(WinogradConvolution, AgreesForEveryWidthAndHeight) {
    for (std::int64_t side = 1; side <= 24; ++side) {
        expect_right(any({1, below(1, 20), below(1, 3), below(1, 5), side}, below(1, 20)));
        expect_right(any({1, below(1, 20), below(1, 3), side, below(1, 5)}, below(1, 20)));
    }
}

TEST_P(WinogradConvolution, AgreesForEveryNumberOfChannels) {
    for (std::int64_t channels = 1; channels <= 48; ++channels)
        expect_right(any({below(1, 2), channels, below(1, 3), below(1, 5), below(1, 5)}, below(1, 48)));
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
    for (const ConvolutionOptions& o :
         {options({2, 24, 5, 13, 11}, 40), options({1, 70, 3, 4, 5}, 130), options({2, 16, 3, 40, 33}, 16, 1)}) {
        // With 16 and 40 the work is cut into more items.
        const Operands with = operands(o);
        for (const cpu::Vectors v : vectors()) {
            const Passes alone = run(o, with, v, {});
            for (const int threads : {2, 3, 5, 16, 40}) {
                ThreadPool pool(threads);
                const Passes got = run(o, with, v, pool.stream());
                EXPECT_EQ(got.dst.values, alone.dst.values);
                EXPECT_EQ(got.diff_src.values, alone.diff_src.values);
                EXPECT_EQ(got.diff_weights.values, alone.diff_weights.values);
            }
        }
    }
}

/// Root of the mean square of what is off, over that of what should be.
double relative_error(const Array& got, const Array& right) {
    double off = 0, all = 0;
    for (std::size_t i = 0; i < right.values.size(); ++i) {
        off += (got.values[i] - right.values[i]) * (got.values[i] - right.values[i]);
        all += right.values[i] * right.values[i];
    }
    return std::sqrt(off / all);
}

TEST_P(WinogradConvolution, IsNearlyAsExactAsTheDirectSums) {
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
    for (const int depth : {1, 3})
        for (const double bad : {static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL}) {
            const ConvolutionOptions o = options({2, 3, 4, 7, 9}, 5, depth);
            Operands with = operands(o);
            for (int i = 0; i < 3; ++i) {
                with.src.at(below(0, 1), below(0, 2), below(0, 3), below(0, 6), below(0, 8)) = bad;
                with.diff.at(below(0, 1), below(0, 4), below(0, 3), below(0, 6), below(0, 8)) = bad;
            }
            const Passes right = expected(o, with);
            for (const cpu::Vectors v : vectors()) {
                const Passes got = run(o, with, v, stream());
                for (std::size_t i = 0; i < right.dst.values.size(); ++i)
                    EXPECT_EQ(std::isfinite(got.dst.values[i]), std::isfinite(right.dst.values[i])) << i;
                for (std::size_t i = 0; i < right.diff_src.values.size(); ++i)
                    EXPECT_EQ(std::isfinite(got.diff_src.values[i]), std::isfinite(right.diff_src.values[i])) << i;
            }
        }
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
    refuses([](auto& o) { o.src_type = o.dst_type = Type::bf16; });
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
    const auto other = [&](auto change) {
        ConvolutionOptions o = options({1, 16, 4, 8, 8}, 16);
        change(o);
        cases.push_back({o, false, false});
    };
    other([](auto& o) { o.kernel = {3, 3, 1}; });
    other([](auto& o) { o.kernel = 5; });
    other([](auto& o) { o.stride = 2; });
    other([](auto& o) { o.src_type = o.dst_type = Type::bf16; });
    other([](auto& o) { o.src_layout = Layout::ncdhw; });
    for (const auto& [o, forward, weights] : cases) {
        SCOPED_TRACE(testing::Message() << o.src.c << " to " << o.dst_channels << " channels, shape " << o.src.n << " "
                                        << o.src.d << " " << o.src.h << " " << o.src.w << ", kernel " << o.kernel.d
                                        << " " << o.kernel.h << " " << o.kernel.w);
        const auto starts = [](const std::string& text) { return text.starts_with("winograd"); };
        const std::string all = cpu::make_convolution({}, o, {})->implementation();
        EXPECT_EQ(starts(all), forward && weights) << all;
        EXPECT_EQ(all.find("forward by [winograd") != std::string::npos, forward && !weights) << all;
        EXPECT_EQ(all.find("data by [winograd") != std::string::npos, forward && !weights) << all;
        EXPECT_EQ(all.find("weights by [winograd") != std::string::npos, false) << all;
        for (const ConvolutionPass pass : {ConvolutionPass::forward, ConvolutionPass::data, ConvolutionPass::weights}) {
            const std::vector<ConvolutionEngine> engines = cpu::convolution_engines({}, o, pass);
            EXPECT_EQ(engines.front().name == "winograd", pass == ConvolutionPass::weights ? weights : forward)
                << engines.front().name;
            EXPECT_EQ(engines.front().choice, "taken");
            EXPECT_EQ(std::count_if(engines.begin(), engines.end(), [&](const auto& one) { return starts(one.name); }),
                      cpu::winograd_convolution_works(o) ? 1 : 0);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, WinogradConvolution,
                         testing::Values(OperationForm{TestBackend::cpu, Layout::blocked8, Type::f32},
                                         OperationForm{TestBackend::cpu, Layout::blocked16, Type::f32}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
