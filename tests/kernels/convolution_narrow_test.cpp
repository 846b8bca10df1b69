// The narrow convolutions, by tensor cores, on the executor, in order and by random schedules, and on a GPU where there
// is one.
#include "kernels/convolution/narrow.h"

#include <algorithm>
#include <utility>

#include "tests/support/convolution_fixture.h"

namespace iwseg {
namespace {

/// The functions of kernels/convolution/narrow.h, of a backend.
struct NarrowKernels {
    decltype(&simt::narrow_forward) forward;
    decltype(&simt::narrow_weight_gradient) weight_gradient;
    decltype(&simt::narrow_statistics) statistics;
    decltype(&simt::make_narrow_convolution) make;
    decltype(&simt::narrow_data_gradient) data_gradient;
};

class NarrowConvolution : public ConvolutionTest {
  protected:
    const NarrowKernels& narrow() const {
        static constexpr NarrowKernels simt{&simt::narrow_forward, &simt::narrow_weight_gradient,
                                            &simt::narrow_statistics, &simt::make_narrow_convolution,
                                            &simt::narrow_data_gradient};
        static constexpr NarrowKernels cuda{&cuda::narrow_forward, &cuda::narrow_weight_gradient,
                                            &cuda::narrow_statistics, &cuda::make_narrow_convolution,
                                            &cuda::narrow_data_gradient};
        return GetParam() == TestBackend::cuda ? cuda : simt;
    }
    std::unique_ptr<Convolution> make(const ConvolutionOptions& options) const override {
        return narrow().make(options, {});
    }

    static ConvolutionOptions narrow_options(const Shape& src, std::int64_t outputs) {
        ConvolutionOptions options = options_of(src, outputs, 3);
        options.src_type = options.dst_type = Type::bf16;
        return options;
    }
    static Array ones(const Shape& shape) {
        Array array(shape);
        std::fill(array.values.begin(), array.values.end(), 1.0);
        return array;
    }
    std::int64_t channels() { return std::int64_t{8} << below(0, 2); }
};

TEST_P(NarrowConvolution, AgreesForAllChannelsAtOddSizes) {
    for (const std::int64_t inputs : {8, 16, 32})
        for (const std::int64_t outputs : {8, 16, 32}) {
            ConvolutionOptions o =
                narrow_options({below(1, 2), inputs, below(1, 6), below(1, 11), below(1, 19)}, outputs);
            o.bias = random_() % 2;
            o.write = random_() % 2 ? Write::accumulate : Write::overwrite;
            expect_right(o, "narrow");
        }
}

TEST_P(NarrowConvolution, AgreesWhereTilesAreCutByTheRim) {
    expect_right(narrow_options({1, 16, 1, 1, 1}, 16), "narrow");
    expect_right(narrow_options({2, 16, 4, 8, 16}, 16), "narrow");
    expect_right(narrow_options({2, 16, 5, 9, 17}, 16), "narrow");
    expect_right(narrow_options({1, 8, 9, 7, 33}, 8), "narrow");
}

TEST_P(NarrowConvolution, AgreesForColumnsThatAreSummedInParts) {
    expect_right(narrow_options({1, 16, 33, 2, 3}, 8), "narrow");
    expect_right(narrow_options({2, 8, 65, 1, 2}, 16), "narrow");
}

/// A number that is none reaches the voxels whose neighbour it is, and no others.
TEST_P(NarrowConvolution, NanStaysAmongItsNeighbours) {
    const ConvolutionOptions o = narrow_options({1, channels(), 6, 11, 19}, channels());
    const auto convolution = make(o);
    Array x = noise(o.src);
    const std::int64_t c = below(0, o.src.c - 1), d = below(0, 5), h = below(0, 10), w = below(0, 18);
    x.at(0, c, d, h, w) = NAN;
    const std::vector<float> weights = noise(o.dst_channels * o.src.c * 27);
    const KernelArray<float> of_weights(*device_, weights);
    const auto scratch = kernel_scratch(*device_, convolution->scratch_bytes());
    const KernelTensor src(*device_, x, Layout::ndhwc, Type::bf16), dst(*device_, o.dst(), Layout::ndhwc, Type::bf16);
    convolution->forward({}, src.view(), of_weights.data(), nullptr, dst.view(), scratch.data());
    const Array y = dst.array();
    reference::each(o.dst(), [&](auto, auto out, auto at_d, auto at_h, auto at_w) {
        const bool near = std::abs(at_d - d) <= 1 && std::abs(at_h - h) <= 1 && std::abs(at_w - w) <= 1;
        ASSERT_EQ(std::isnan(y.at(0, out, at_d, at_h, at_w)), near) << "at " << at_d << ", " << at_h << ", " << at_w;
    });
}

TEST_P(NarrowConvolution, ReadsPackedWeightsAsPlainOnes) {
    for (int i = 0; i < 3; ++i) {
        const ConvolutionOptions o =
            narrow_options({1, channels(), below(1, 3), below(1, 9), below(1, 17)}, channels());
        SCOPED_TRACE(text_of(o));
        const std::int64_t c = o.src.c, count = o.dst_channels * c * 27;
        const std::vector<float> plain = noise(count);
        std::vector<Bf16> packed(plain.size());
        for (std::size_t p = 0; p < packed.size(); ++p) {
            const std::size_t in = p % static_cast<std::size_t>(c), tap = p / static_cast<std::size_t>(c) % 27;
            store(packed[p],
                  plain[(p / 27 / static_cast<std::size_t>(c) * static_cast<std::size_t>(c) + in) * 27 + tap]);
        }
        const KernelArray<float> of_plain(*device_, plain);
        const KernelArray<Bf16> of_packed(*device_, packed);
        const auto scratch = kernel_scratch(*device_, simt::narrow_scratch_bytes(o.src, o.dst_channels));
        const auto both = [&](const NarrowWeights& weights) {
            const KernelTensor x(*device_, Array(o.src), Layout::ndhwc, Type::bf16),
                y(*device_, o.dst(), Layout::ndhwc, Type::bf16);
            const KernelTensor diff(*device_, ones(o.dst()), Layout::ndhwc, Type::bf16),
                back(*device_, ones(o.src), Layout::ndhwc, Type::bf16);
            narrow().data_gradient({}, diff.view(), weights, x.view(), scratch.data());
            narrow().forward({}, back.view(), weights, {}, {}, y.view(), scratch.data());
            return std::pair{x.array().values, y.array().values};
        };
        EXPECT_EQ(both({of_plain.data(), nullptr}), both({nullptr, of_packed.data()}));
    }
}

/// In the last row of src, below which the tile has nothing: taps that pair it with rows of diff_dst outside stay
/// finite.
TEST_P(NarrowConvolution, NanReachesNoTapThatDoesNotTouchIt) {
    const ConvolutionOptions o = narrow_options({1, 8, 2, 5, 16}, channels());
    const auto convolution = make(o);
    Array x = noise(o.src);
    x.at(0, 3, 1, 4, below(0, 15)) = NAN;
    const auto scratch = kernel_scratch(*device_, convolution->scratch_bytes());
    const KernelArray<float> gradient(*device_, o.dst_channels * 8 * 27, 0);
    const KernelTensor src(*device_, x, Layout::ndhwc, Type::bf16),
        diff(*device_, noise(o.dst()), Layout::ndhwc, Type::bf16);
    convolution->backward_weights({}, src.view(), diff.view(), gradient.data(), nullptr, scratch.data());
    const std::vector<float> got = gradient.host();
    for (std::size_t i = 0; i < got.size(); ++i) {
        const std::size_t tap = i % 27, c = i / 27 % 8, kd = tap / 9, kh = tap / 3 % 3;
        if (c != 3 || kh == 0 || kd == 0) {
            ASSERT_FALSE(std::isnan(got[i])) << "channel " << c << ", tap " << tap;
        } else if (tap == 13) {
            ASSERT_TRUE(std::isnan(got[i]));
        }
    }
}

/// Every load of a matrix takes one cycle of shared memory; of a whole tile and of several groups of channels.
TEST_P(NarrowConvolution, LoadsMeetNoBankTwice) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "the executor counts";
    for (const std::int64_t inputs : {8, 16, 32})
        for (const std::int64_t outputs : {8, 16, 32}) {
            const simt::MatrixLoads before = simt::matrix_loads();
            expect_right(narrow_options({1, inputs, 2, 8, 16}, outputs), "narrow");
            const simt::MatrixLoads after = simt::matrix_loads();
            EXPECT_GT(after.count, before.count);
            EXPECT_EQ(after.cycles - before.cycles, after.count - before.count) << inputs << " to " << outputs;
        }
}

/// Operands of a normalised convolution.
struct Normalised {
    KernelArray<float> mean, inverse_deviation, scale, shift;

    BatchNormStatistics statistics() const { return {mean.data(), inverse_deviation.data()}; }
    BatchNormWeights weights() const { return {scale.data(), shift.data()}; }
};

class FusedNarrowConvolution : public NarrowConvolution {
  protected:
    KernelArray<float> floats(std::int64_t count, float from, float to) {
        std::vector<float> values(static_cast<std::size_t>(count));
        for (float& value : values) value = std::uniform_real_distribution<float>(from, to)(random_);
        return {*device_, values};
    }
    Normalised normalised(std::int64_t c) {
        return {floats(c, -1, 1), floats(c, 0.5f, 2), floats(c, -1.5f, 1.5f), floats(c, -1, 1)};
    }
};

/// The same bits as normalising first: padding is of the activation, so a shift must not reach beyond the rim.
TEST_P(FusedNarrowConvolution, NormalisesOnTheWayAsApplyDoes) {
    for (int i = 0; i < 4; ++i) {
        const ConvolutionOptions o =
            narrow_options({below(1, 2), channels(), below(1, 6), below(1, 11), below(1, 19)}, channels());
        SCOPED_TRACE(text_of(o));
        simt::schedule_by(random_() % 2 ? random_() : 0);
        const auto convolution = make(o);
        const Normalised norm = normalised(o.src.c);
        const KernelArray<float> weights(*device_, noise(o.dst_channels * o.src.c * 27));
        const KernelArray<float> plain(*device_, o.dst_channels * o.src.c * 27, NAN),
            fused(*device_, o.dst_channels * o.src.c * 27, NAN);
        const auto scratch = kernel_scratch(*device_, convolution->scratch_bytes());
        const KernelTensor x(*device_, noise(o.src), Layout::ndhwc, Type::bf16),
            active(*device_, o.src, Layout::ndhwc, Type::bf16);
        const KernelTensor y(*device_, o.dst(), Layout::ndhwc, Type::bf16),
            at_once(*device_, o.dst(), Layout::ndhwc, Type::bf16);
        const KernelTensor diff(*device_, noise(o.dst()), Layout::ndhwc, Type::bf16);
        device_->batch_norm_apply({}, x.view(), norm.statistics(), norm.weights(), kRelu, active.view());
        convolution->forward({}, active.view(), weights.data(), nullptr, y.view(), scratch.data());
        convolution->backward_weights({}, active.view(), diff.view(), plain.data(), nullptr, scratch.data());
        const NarrowPrologue prologue{norm.statistics(), norm.weights()};
        narrow().forward({}, x.view(), {weights.data()}, prologue, {}, at_once.view(), scratch.data());
        narrow().weight_gradient({}, x.view(), prologue, diff.view(), fused.data(), scratch.data());
        EXPECT_EQ(at_once.array().values, y.array().values);
        EXPECT_EQ(fused.host(), plain.host());
    }
}

/// Of what is stored, whatever it is added to; half the times the mean lies far from 0, where only pivots save the
/// sums.
TEST_P(FusedNarrowConvolution, SumsOnTheWayGiveTheStatisticsOfWhatIsStored) {
    for (int i = 0; i < 4; ++i) {
        const ConvolutionOptions o =
            narrow_options({below(1, 2), channels(), below(1, 9), below(1, 17), below(1, 33)}, channels());
        SCOPED_TRACE(text_of(o));
        simt::schedule_by(random_() % 2 ? random_() : 0);
        const std::int64_t c = o.dst_channels, bytes = narrow_sums_bytes(o.dst());
        const auto scratch = kernel_scratch(*device_, simt::narrow_scratch_bytes(o.src, c));
        const auto work = kernel_scratch(*device_, device_->batch_norm_scratch_bytes(o.dst(), Layout::ndhwc));
        const KernelArray<float> weights(*device_, noise(c * o.src.c * 27)), sums(*device_, bytes / 4, NAN);
        const KernelArray<float> bias = i % 2 ? floats(c, 1000, 1200) : floats(c, -1, 1);
        const KernelTensor x(*device_, noise(o.src), Layout::ndhwc, Type::bf16),
            y(*device_, noise(o.dst()), Layout::ndhwc, Type::bf16);
        NarrowEpilogue epilogue;
        epilogue.bias = bias.data();
        epilogue.write = Write::accumulate;
        epilogue.sums = sums.data();
        narrow().forward({}, x.view(), {weights.data()}, {}, epilogue, y.view(), scratch.data());

        const auto compute = [&](auto&& body) {
            const KernelArray<float> mean(*device_, c, NAN), inverse(*device_, c, NAN), running(*device_, c, 1),
                variance(*device_, c, 2);
            body(BatchNormStatistics{mean.data(), inverse.data()},
                 RunningStatistics{running.data(), variance.data(), 0.1f});
            return std::vector<std::vector<float>>{mean.host(), inverse.host(), running.host(), variance.host()};
        };
        const auto expected = compute([&](const BatchNormStatistics& s, const RunningStatistics& r) {
            device_->batch_norm_statistics(KernelStream(*device_), y.view(), 1e-5f, s, r, work.data());
        });
        const auto got = compute([&](const BatchNormStatistics& s, const RunningStatistics& r) {
            narrow().statistics({}, o.dst(), sums.data(), 1e-5f, s, r);
        });
        // f32 sums of at most 512 elements about one of them, which cancel 512 times at worst.
        for (std::size_t k = 0; k < expected.size(); ++k)
            for (std::size_t j = 0; j < expected[k].size(); ++j)
                ASSERT_NEAR(got[k][j], expected[k][j], 3e-5 * std::abs(expected[k][j]) + 1e-6)
                    << k << ", channel " << j;
    }
}

TEST_P(NarrowConvolution, RefusesWhatItCannotTake) {
    const ConvolutionOptions right = narrow_options({1, 16, 2, 2, 2}, 16);
    const auto refuses = [&](auto&& change) {
        ConvolutionOptions o = right;
        change(o);
        EXPECT_FALSE(takes_narrow(o)) << text_of(o);
        EXPECT_THROW(make(o), std::invalid_argument);
    };
    EXPECT_TRUE(takes_narrow(right));
    refuses([](ConvolutionOptions& o) { o.kernel = 1; });
    refuses([](ConvolutionOptions& o) { o.src.c = 24; });
    refuses([](ConvolutionOptions& o) { o.dst_channels = 64; });
    refuses([](ConvolutionOptions& o) { o.src_type = Type::f32; });
    refuses([](ConvolutionOptions& o) { o.dst_type = Type::f32; });
    refuses([](ConvolutionOptions& o) { o.dst_layout = Layout::ncdhw; });
    refuses([](ConvolutionOptions& o) { o.src = {1, 16, 1024, 1024, 128}; });  // 2^31 numbers a sample
    const auto convolution = make(right);
    const KernelTensor src(*device_, Shape{1, 16, 2, 2, 1}, Layout::ndhwc, Type::bf16),
        dst(*device_, right.dst(), Layout::ndhwc, Type::bf16);
    EXPECT_THROW(convolution->forward({}, src.view(), nullptr, nullptr, dst.view(), nullptr), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, NarrowConvolution, testing::Values(TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return name_of(one.param); });
INSTANTIATE_TEST_SUITE_P(On, FusedNarrowConvolution, testing::Values(TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace iwseg
