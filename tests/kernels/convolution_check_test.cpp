// What plans of convolutions are prepared, checked and remembered with, all of it without cuDNN.
#include "kernels/convolution/check.h"

#include <filesystem>
#include <fstream>
#include <random>

#include "kernels/convolution/direct.h"
#include "kernels/convolution/noise.h"
#include "kernels/convolution/plan_choice.h"
#include "kernels/convolution/plan_file.h"
#include "kernels/convolution/weights.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

std::int64_t below(std::int64_t low, std::int64_t high) {
    static std::mt19937 random(std::random_device{}());
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

TEST(PackedWeights, AreTheSameNumbersWithChannelsInnermost) {
    const Backend& device = simt::backend();
    constexpr int kTaps[] = {27, 1, 4, 125, 3, 343, 9, 2 * 7 * 7};
    for (int i = 0; i < 24; ++i) {
        const WeightShape s{below(1, 5), i % 3 ? below(1, 20) : below(60, 200), kTaps[i % 8]};
        const Type type = i / 2 % 2 ? Type::bf16 : Type::f32;
        std::vector<float> plain(static_cast<std::size_t>(s.count()));
        for (std::size_t j = 0; j < plain.size(); ++j) plain[j] = noise_at(9, static_cast<std::int64_t>(j));
        const KernelArray<float> weights(device, plain), back(device, s.count(), NAN);
        const auto packed = kernel_scratch(device, s.count() * bytes_of(type));
        simt::schedule_by(static_cast<std::uint64_t>(i));
        simt::pack_weights({}, weights.data(), s, type, packed.data());
        for (std::int64_t o = 0; o < s.outputs; ++o)
            for (std::int64_t c = 0; c < s.inputs; ++c)
                for (std::int64_t tap = 0; tap < s.taps; ++tap) {
                    const std::int64_t at = (o * s.taps + tap) * s.inputs + c;
                    const void* all = packed.data();
                    const float got = type == Type::bf16 ? to_f32(static_cast<const Bf16*>(all)[at])
                                                         : static_cast<const float*>(all)[at];
                    ASSERT_EQ(got, plain[static_cast<std::size_t>((o * s.inputs + c) * s.taps + tap)])
                        << o << " " << c << " " << tap;
                }
        simt::unpack_weights({}, packed.data(), s, type, back.data());
        EXPECT_EQ(back.host(), plain);
        simt::schedule_by(0);
        simt::check_sentinels();
    }
}

TEST(FilledWithNoise, AreSoManyNumbersAndNoneBehind) {
    const Backend& device = simt::backend();
    for (const std::int64_t count : {std::int64_t{1}, std::int64_t{256}, below(2, 3000)}) {
        const KernelArray<float> to(device, count + 1, -7.0f);
        simt::fill_with_noise({}, kNoiseSrc, Type::f32, count, to.data());
        const std::vector<float> got = to.host();
        for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], noise_at(kNoiseSrc, i));
        EXPECT_EQ(got.back(), -7.0f) << count;
    }
}

TEST(AddedBias, GoesToEachVoxel) {
    const Backend& device = simt::backend();
    for (int i = 0; i < 8; ++i) {
        const Shape shape{2, i % 2 ? 8 * below(1, 3) : below(1, 20), 3, 2, below(1, 5)};
        const Type type = i / 2 % 2 ? Type::bf16 : Type::f32;
        reference::Array x(shape);
        // The bias need not lie as packs do: it is of the parameters' flat buffer.
        std::vector<float> bias(static_cast<std::size_t>(shape.c) + 1);
        for (std::size_t j = 0; j < bias.size(); ++j) bias[j] = noise_at(2, static_cast<std::int64_t>(j));
        for (std::size_t j = 0; j < x.values.size(); ++j) x.values[j] = noise_at(1, static_cast<std::int64_t>(j));
        const KernelArray<float> b(device, bias);
        const KernelTensor y(device, x, Layout::ndhwc, type);
        simt::add_bias({}, b.data() + 1, y.view());
        const reference::Array got = y.array();
        reference::each(shape, [&](auto n, auto c, auto d, auto h, auto w) {
            // Multiples of 1/128 below 2, which bf16 need not hold.
            const auto sum = static_cast<float>(x.at(n, c, d, h, w)) + bias[static_cast<std::size_t>(c) + 1];
            ASSERT_EQ(got.at(n, c, d, h, w), type == Type::bf16 ? round_to_bf16(sum) : sum);
        });
        simt::check_sentinels();
    }
}

/// Of a kernel, and what becomes of a stride, groups and padding.
struct Joins {
    Sides kernel, stride = 1;
    std::int64_t groups = 1;
    bool padded = true;
};

/// A convolution of noise by the direct kernels, for which the check knows what it expects.
class CheckedConvolution : public testing::TestWithParam<Joins> {
  protected:
    CheckedConvolution() {
        const auto& [kernel, stride, groups, padded] = GetParam();
        options_.src = {2, groups * below(1, 9), below(1, 6), below(2, 7), below(2, 7)};
        options_.dst_channels = groups * below(1, 9);
        options_.kernel = kernel;
        options_.stride = stride;
        options_.groups = groups;
        options_.padded = padded;
        options_.src_layout = options_.dst_layout = Layout::ndhwc;
        options_.bias = below(0, 1);
        options_.write = below(0, 1) ? Write::accumulate : Write::overwrite;
        noise_ = {options_, options_.bias, options_.write == Write::accumulate};
        shape_ = {options_.dst_channels, options_.inputs(), static_cast<int>(options_.taps())};
        convolution_ = simt::make_direct_convolution(options_, {});
        scratch_.resize(static_cast<std::size_t>(convolution_->scratch_bytes()));
        src_ = noise(kNoiseSrc, options_.src.elements());
        dst_ = noise(kNoiseDst, options_.dst().elements());
        bias_ = noise(kNoiseBias, options_.dst_channels);
        weights_.resize(static_cast<std::size_t>(shape_.count()));
        simt::unpack_weights({}, noise(kNoiseWeights, shape_.count()).data(), shape_, Type::f32, weights_.data());
    }
    static std::vector<float> noise(std::uint32_t operand, std::int64_t count) {
        std::vector<float> numbers(static_cast<std::size_t>(count));
        simt::fill_with_noise({}, operand, Type::f32, count, numbers.data());
        return numbers;
    }
    View src() { return {src_.data(), options_.src, Type::f32, Layout::ndhwc}; }
    View dst() { return {dst_.data(), options_.dst(), Type::f32, Layout::ndhwc}; }

    /// Accepts the numbers as they are, and no longer where any one that is looked at is changed.
    static void expect_checked(const std::vector<ExpectedNumber>& expected, const std::vector<float>& numbers) {
        std::vector<double> got;
        for (const ExpectedNumber& one : expected) got.push_back(numbers.at(static_cast<std::size_t>(one.place)));
        EXPECT_EQ(expected[0].place, 0);
        EXPECT_EQ(expected[1].place, static_cast<std::int64_t>(numbers.size()) - 1);
        EXPECT_EQ(first_difference(expected, got, 1e-5), "");
        for (const double wrong : {got[1] + 1, static_cast<double>(NAN)}) {
            auto changed = got;
            changed[1] = wrong;
            EXPECT_NE(first_difference(expected, changed, 1e-2), "") << wrong;
        }
    }

    ConvolutionOptions options_;
    NoiseConvolution noise_;
    WeightShape shape_;
    std::unique_ptr<Convolution> convolution_;
    std::vector<char> scratch_;
    std::vector<float> src_, dst_, bias_, weights_;
};

TEST_P(CheckedConvolution, ForwardIsAsExpected) {
    convolution_->forward({}, src(), weights_.data(), bias_.data(), dst(), scratch_.data());
    expect_checked(expected_forward(noise_, 40), dst_);
}

TEST_P(CheckedConvolution, DataGradientIsAsExpected) {
    convolution_->backward_data({}, dst(), weights_.data(), src(), scratch_.data());
    expect_checked(expected_data_gradient(noise_, 40), src_);
}

TEST_P(CheckedConvolution, WeightGradientIsAsExpected) {
    std::vector<float> gradient(weights_.size()), packed(weights_.size()), bias(bias_.size());
    convolution_->backward_weights(KernelStream(simt::backend()), src(), dst(), gradient.data(), bias.data(),
                                   scratch_.data());
    simt::pack_weights({}, gradient.data(), shape_, Type::f32, packed.data());
    expect_checked(expected_weight_gradient(noise_, 12), packed);
}

INSTANTIATE_TEST_SUITE_P(OfKernel, CheckedConvolution,
                         testing::Values(Joins{1}, Joins{3}, Joins{{1, 3, 7}}, Joins{3, 2}, Joins{{3, 1, 5}, {2, 1, 3}},
                                         Joins{3, {1, 2, 2}, 4}, Joins{{1, 2, 2}, {1, 2, 2}, 1, false},
                                         Joins{1, 2, 3, false}));

TEST(FastestRight, IsTheFirstInTimeThatIsNotWrong) {
    const std::vector<std::optional<double>> times{3.0, std::nullopt, 1.0, 2.0};
    std::vector<std::size_t> asked, complaints;
    const auto best = fastest_right(
        times.size(), [&](std::size_t i) { return times[i]; },
        [&](std::size_t i) {
            asked.push_back(i);
            return std::string(i == 2 ? "off by one" : "");
        },
        [&](std::size_t i, const std::string&) { complaints.push_back(i); });
    EXPECT_EQ(best, 3u);
    EXPECT_EQ(asked, (std::vector<std::size_t>{2, 3}));
    EXPECT_EQ(complaints, std::vector<std::size_t>{2});
    const auto none = fastest_right(
        2, [](std::size_t) { return std::optional<double>(); }, [](std::size_t) { return std::string(); },
        [](std::size_t, const std::string&) {});
    EXPECT_EQ(none, std::nullopt);
}

class PlanFiles : public testing::Test {
  protected:
    PlanFiles()
        : folder_(std::filesystem::temp_directory_path() / ("iwseg_plans_" + std::to_string(std::random_device{}()))) {}
    ~PlanFiles() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path folder_;
};

TEST_F(PlanFiles, KeepWhatWasStoredAndReplaceIt) {
    const PlanFile file(folder_ / "deep" / "plans.txt"), same(file.path());
    EXPECT_EQ(file.find("a"), std::nullopt);
    EXPECT_TRUE(file.store("a", "0 1:2=3"));
    EXPECT_TRUE(same.store("b", "1 4:"));
    EXPECT_TRUE(file.store("a", "0 5:"));
    EXPECT_EQ(same.find("a"), "0 5:");
    EXPECT_EQ(file.find("b"), "1 4:");
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_ / "deep")) ++files;
    EXPECT_EQ(files, 1u) << "something is left beside the file";
}

TEST_F(PlanFiles, ThatCannotBeReadOrWrittenAreAsGoodAsNotThere) {
    std::filesystem::create_directories(folder_);
    const PlanFile garbage(folder_ / "garbage");
    std::ofstream(garbage.path()) << "no tab\n\n\t\nkey\tvalue\ntorn";
    EXPECT_EQ(garbage.find("key"), "value");
    EXPECT_EQ(garbage.find("torn"), std::nullopt);
    const PlanFile impossible(folder_ / "garbage" / "plans.txt"), nowhere("");
    EXPECT_EQ(impossible.find("key"), std::nullopt);
    EXPECT_FALSE(impossible.store("key", "value"));
    EXPECT_FALSE(nowhere.store("key", "value"));
}

}  // namespace
}  // namespace iwseg
