// The passes over all parameters that follow a backward pass, on every backend, against double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

/// Odd, so that a tail is left after the last full pack, and of more than one chunk and block; an offset of one takes
/// the path of unaligned buffers.
constexpr std::int64_t kCount = 40003;

class OptimizerKernels : public testing::TestWithParam<TestBackend> {
  protected:
    OptimizerKernels() : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, seed_text()) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    void TearDown() override { simt::check_sentinels(); }

    const Backend& device() const { return backend_of(GetParam()); }
    std::vector<float> noise(double scale = 1) {
        std::vector<float> values(kCount);
        for (float& value : values) value = static_cast<float>(scale * std::normal_distribution<double>()(random_));
        return values;
    }
    KernelArray<float> placed(const std::vector<float>& values) const { return {device(), values}; }
    KernelArray<UpdateStep> stepped(const UpdateStep& step) const { return {device(), std::vector<UpdateStep>{step}}; }

  private:
    std::string seed_text() const { return "seed " + std::to_string(seed_); }

    unsigned seed_;

  protected:
    std::mt19937 random_;

  private:
    testing::ScopedTrace trace_;
};

/// Values below 8 or so after a few roundings.
constexpr double kAllowed = 2e-6;

TEST_P(OptimizerKernels, SgdFollowsPyTorchsFormula) {
    for (const bool nesterov : {false, true})
        for (const std::int64_t offset : {0, 1}) {
            const std::vector<float> x = noise(), v = noise(), g = noise();
            const auto value = placed(x), momentum = placed(v), gradient = placed(g);
            const auto step = stepped({.rate = 0.1f});
            device().sgd_update({}, {0.9f, 0.01f, nesterov}, step.data(), kCount - offset, gradient.data() + offset,
                                momentum.data() + offset, value.data() + offset);
            const std::vector<float> new_value = value.host(), new_momentum = momentum.host();
            for (std::size_t i = 0; i < kCount; ++i) {
                const bool moved = static_cast<std::int64_t>(i) >= offset;
                const double sum = g[i] + 0.01 * x[i], velocity = moved ? 0.9 * v[i] + sum : v[i];
                const double change = moved ? 0.1 * (nesterov ? sum + 0.9 * velocity : velocity) : 0;
                ASSERT_NEAR(new_momentum[i], velocity, kAllowed) << "place " << i;
                ASSERT_NEAR(new_value[i], x[i] - change, kAllowed) << "place " << i;
            }
        }
}

TEST_P(OptimizerKernels, AdamWFollowsPyTorchsFormula) {
    constexpr AdamWOptions kOptions{.beta1 = 0.8f, .beta2 = 0.97f, .epsilon = 1e-3f, .weight_decay = 0.1f};
    for (const std::int64_t offset : {0, 1}) {
        const std::vector<float> x = noise(), m = noise(), g = noise();
        std::vector<float> s = noise();
        for (float& square : s) square *= square;
        const auto value = placed(x), mean = placed(m), square = placed(s), gradient = placed(g);
        const auto step = stepped({.rate = 0.05f, .mean_factor = 1.7f, .deviation_factor = 3.1f});
        device().adamw_update({}, kOptions, step.data(), kCount - offset, gradient.data() + offset,
                              mean.data() + offset, square.data() + offset, value.data() + offset);
        const std::vector<float> new_value = value.host(), new_mean = mean.host(), new_square = square.host();
        for (std::size_t i = static_cast<std::size_t>(offset); i < kCount; ++i) {
            const double first = 0.8 * m[i] + 0.2 * g[i], second = 0.97 * s[i] + 0.03 * g[i] * g[i];
            ASSERT_NEAR(new_mean[i], first, kAllowed) << "place " << i;
            ASSERT_NEAR(new_square[i], second, 4e-6) << "place " << i;  // squares of up to 5
            const double per_mean = 0.05 * 1.7 / (3.1 * std::sqrt(second) + 1e-3);
            // Roundings of a value of up to 8, and of a mean whose parts may cancel, times what the mean counts.
            const double allowed = 4e-6 + 4e-7 * per_mean * (std::abs(m[i]) + std::abs(g[i]));
            ASSERT_NEAR(new_value[i], x[i] * (1 - 0.05 * 0.1) - per_mean * first, allowed) << "place " << i;
        }
        EXPECT_TRUE(offset == 0 || new_value[0] == x[0]);
    }
}

TEST_P(OptimizerKernels, NothingIsUpdatedBeforeAStepsLastBatch) {
    const std::vector<float> x = noise(), v = noise(), g = noise();
    const auto value = placed(x), momentum = placed(v), square = placed(v), gradient = placed(g);
    const auto step = stepped({.rate = 0.1f, .last_batch = 0});
    device().sgd_update({}, {}, step.data(), kCount, gradient.data(), momentum.data(), value.data());
    device().adamw_update({}, {}, step.data(), kCount, gradient.data(), momentum.data(), square.data(), value.data());
    device().average_values({}, step.data(), kCount, gradient.data(), value.data());
    EXPECT_EQ(value.host(), x);
    EXPECT_EQ(momentum.host(), v);
    EXPECT_EQ(square.host(), v);
}

TEST_P(OptimizerKernels, GradientsOfBatchesAreAveraged) {
    const std::vector<float> first = noise(), second = noise(), third = noise(), before = noise();
    const auto sum = placed(before);  // of a step long past
    const std::vector<const std::vector<float>*> batches{&first, &second, &third};
    std::vector<float> last;
    for (int b = 0; b < 3; ++b) {
        const auto gradient = placed(*batches[static_cast<std::size_t>(b)]);
        const auto step = stepped({.first_batch = b == 0, .last_batch = b == 2});
        device().accumulate_gradient({}, step.data(), 1.0f / 3, kCount, gradient.data(), sum.data());
        last = gradient.host();
        if (b < 2) {
            EXPECT_EQ(last, *batches[static_cast<std::size_t>(b)]);
        }
    }
    for (std::size_t i = 0; i < kCount; ++i)
        ASSERT_NEAR(last[i], (double{first[i]} + second[i] + third[i]) / 3, kAllowed) << "place " << i;
}

TEST_P(OptimizerKernels, AGradientsNormIsAtMostTheLimit) {
    for (const std::int64_t offset : {0, 1})
        for (const double scale : {1e-3, 1.0, 1e21}) {  // whose squares f32 could not add up
            const std::vector<float> g = noise(scale);
            const auto gradient = placed(g);
            const std::int64_t count = kCount - offset;
            const KernelArray<double> scratch(device(), (device().clip_scratch_bytes(count) + 7) / 8);
            const KernelStream stream(device());
            double norm = 0;
            for (std::size_t i = static_cast<std::size_t>(offset); i < kCount; ++i) norm += double{g[i]} * g[i];
            norm = std::sqrt(norm);
            device().clip_gradient(stream, 12, count, gradient.data() + offset, scratch.data());
            const std::vector<float> clipped = gradient.host();
            const double factor = std::min(1.0, 12 / (norm + 1e-6));
            EXPECT_EQ(factor < 1, scale >= 1.0);
            for (std::size_t i = static_cast<std::size_t>(offset); i < kCount; ++i)
                ASSERT_NEAR(clipped[i], factor * g[i], 3e-7 * std::abs(factor * g[i]))
                    << "place " << i;  // two roundings
            EXPECT_TRUE(offset == 0 || clipped[0] == g[0]);
        }
}

TEST_P(OptimizerKernels, ANormThatIsNotANumberIsNotHidden) {
    std::vector<float> g = noise();
    g[kCount / 2] = std::numeric_limits<float>::quiet_NaN();
    const auto gradient = placed(g);
    const KernelArray<double> scratch(device(), (device().clip_scratch_bytes(kCount) + 7) / 8);
    device().clip_gradient(KernelStream(device()), 1, kCount, gradient.data(), scratch.data());
    for (const float value : gradient.host()) ASSERT_TRUE(std::isnan(value));
}

TEST_P(OptimizerKernels, AveragesMoveTowardsValues) {
    const std::vector<float> x = noise(), a = noise();
    const auto value = placed(x), average = placed(a);
    device().average_values({}, stepped({.average_share = 0.25f}).data(), kCount, value.data(), average.data());
    const std::vector<float> moved = average.host();
    for (std::size_t i = 0; i < kCount; ++i) ASSERT_NEAR(moved[i], 0.75 * a[i] + 0.25 * x[i], kAllowed);
    EXPECT_EQ(value.host(), x);
}

INSTANTIATE_TEST_SUITE_P(Backends, OptimizerKernels,
                         testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return std::string(name_of(one.param)); });

}  // namespace
}  // namespace iwseg
