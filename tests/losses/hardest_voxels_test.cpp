#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/support/loss_fixture.h"

// topk: the mean cross-entropy of the hardest voxels.
namespace iwseg {
namespace {

class HardestVoxels : public LossKernel {
  protected:
    std::mt19937 random_{std::random_device{}()};

    /// Some voxels unknown.
    Batch batch(const Shape& shape, double spread, double unknown) {
        Batch b = random_batch(shape, spread, random_);
        std::bernoulli_distribution ignored(unknown);
        for (std::uint8_t& target : b.target)
            if (ignored(random_)) target = kIgnored;
        return b;
    }

    /// Of what counts, and of what is as hard as the last: the definition's derivative where it has one.
    static std::vector<double> gradient_of(const Batch& b, double percent) {
        std::vector<float> errors;
        const auto error = [&](std::size_t v) {
            return reference::softplus(b.target[v] == 1 ? -b.logit[v] : b.logit[v]);
        };
        for (std::size_t v = 0; v < b.logit.size(); ++v)
            if (b.target[v] != kIgnored) errors.push_back(static_cast<float>(error(v)));
        std::sort(errors.begin(), errors.end(), std::greater<>());
        const auto wanted =
            std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(errors.size()) * percent / 100));
        const float last = errors[wanted - 1];
        const auto left = static_cast<double>(std::count(errors.begin(), errors.begin() + wanted, last));
        const auto equal = static_cast<double>(std::count(errors.begin(), errors.end(), last));
        std::vector<double> gradient(b.logit.size());
        for (std::size_t v = 0; v < gradient.size(); ++v) {
            if (b.target[v] == kIgnored) continue;
            const auto own = static_cast<float>(error(v));
            const double counts = own > last ? 1 : own == last ? left / equal : 0;
            gradient[v] = counts / static_cast<double>(wanted) * (reference::sigmoid(b.logit[v]) - b.target[v]);
        }
        return gradient;
    }

    /// Value to 1e-6, as other losses; gradients to 1e-5 of the largest. Voxels within a rounding of the last one that
    /// counts may be taken for each other: logits of the tests are thousandths, so that others are farther apart.
    void expect_as_defined(const Batch& b, double percent) {
        const Loss loss = loss_from_name("topk(" + std::to_string(percent) + ")");
        const Result found = compute(loss, b);
        const double expected = reference::loss(loss, in_double(b));
        EXPECT_NEAR(found.value, expected, 1e-6 * expected) << percent << " %";
        const std::vector<double> gradient = gradient_of(b, percent);
        const double most = std::fabs(*std::max_element(
            gradient.begin(), gradient.end(), [](double x, double y) { return std::fabs(x) < std::fabs(y); }));
        for (std::size_t v = 0; v < gradient.size(); ++v)
            ASSERT_NEAR(found.gradient[v], gradient[v], 1e-5 * most) << "voxel " << v << ", " << percent << " %";
    }

    static void round_to_thousandths(Batch& b) {
        for (float& z : b.logit) z = std::round(z * 1000) / 1000;
    }
};

}  // namespace

TEST_P(HardestVoxels, ValuesAndGradientsAgreeWithDoublePrecision) {
    for (const Shape& shape : {Shape{2, 1, 3, 7, 11}, Shape{1, 1, 1, 1, 1}, Shape{3, 1, 1, 5, 1}})
        for (const double unknown : {0.0, 0.3})
            for (const double percent : {0.01, 10.0, 70.0, 100.0}) {
                Batch b = batch(shape, 2, unknown);
                b.target[0] = 1;
                round_to_thousandths(b);
                expect_as_defined(b, percent);
            }
}

TEST_P(HardestVoxels, ManyChunksAndBlocksAddUp) {
    if (GetParam() == TestBackend::simt) GTEST_SKIP() << "slow on the executor, and no other code";
    Batch b = batch({2, 1, 20, 31, 33}, 3, 0.1);
    round_to_thousandths(b);
    expect_as_defined(b, 10);
}

TEST_P(HardestVoxels, EqualVoxelsShareWhatIsLeft) {
    Batch b = batch({1, 1, 2, 5, 10}, 1, 0);
    for (std::size_t v = 0; v < b.logit.size(); ++v) b.logit[v] = 0.5f, b.target[v] = v < 10;
    // The 90 false alarms are harder than the 10 voxels of lesion, and all alike.
    expect_as_defined(b, 30);
    std::fill(b.target.begin(), b.target.end(), std::uint8_t{0});
    for (const double percent : {1.0, 50.0, 100.0}) expect_as_defined(b, percent);
}

TEST_P(HardestVoxels, AllOfThemAreTheCrossEntropy) {
    const Batch b = batch({2, 1, 3, 7, 11}, 4, 0.2);
    const Result all = compute(loss_from_name("topk(100)"), b), ce = compute(loss_from_name("ce"), b);
    EXPECT_NEAR(all.value, ce.value, 1e-6 * ce.value);
    for (std::size_t v = 0; v < b.logit.size(); ++v)
        ASSERT_NEAR(all.gradient[v], ce.gradient[v], 1e-6 * largest(ce.gradient));
}

TEST_P(HardestVoxels, WhatIsUnknownTeachesNothing) {
    Batch b = batch({2, 1, 3, 4, 5}, 4, 1);
    const Result none = compute(loss_from_name("topk"), b);
    EXPECT_EQ(none.value, 0.0);
    EXPECT_EQ(largest(none.gradient), 0.0f);
    b.target[7] = 1;
    const Result one = compute(loss_from_name("topk"), b);
    EXPECT_NEAR(one.value, reference::softplus(-b.logit[7]), 1e-6 * one.value);
    for (std::size_t v = 0; v < b.logit.size(); ++v) EXPECT_EQ(one.gradient[v] != 0, v == 7);
}

TEST_P(HardestVoxels, WhatIsNoNumberAndWhatIsInfiniteShows) {
    Batch b = batch({1, 1, 3, 4, 5}, 1, 0);
    b.target[3] = 0;
    b.logit[3] = kInfinity;
    const Result infinite = compute(loss_from_name("topk"), b);
    EXPECT_EQ(infinite.value, kInfinity);
    for (const float g : infinite.gradient) ASSERT_TRUE(std::isfinite(g));
    b.logit[3] = kNan;
    EXPECT_TRUE(std::isnan(compute(loss_from_name("topk"), b).value));
    b.logit[3] = -kInfinity;
    EXPECT_TRUE(std::isfinite(compute(loss_from_name("topk(100)"), b).value));
}

TEST_P(HardestVoxels, Bf16LogitsGiveTheLossOfTheRoundedLogits) {
    Batch b = batch({2, 1, 3, 5, 7}, 2, 0.1);
    for (float& z : b.logit) {
        Bf16 rounded{};
        store(rounded, z);
        z = to_f32(rounded);
    }
    const Loss loss = loss_from_name("topk(20)");
    const Result exact = compute(loss, b), rounded = iwseg::compute<Bf16>(GetParam(), loss, b);
    EXPECT_EQ(rounded.value, exact.value);
    for (std::size_t v = 0; v < b.logit.size(); ++v)
        ASSERT_NEAR(rounded.gradient[v], exact.gradient[v], std::fabs(exact.gradient[v]) / 256);  // bf16's 8 bits
}

TEST_P(HardestVoxels, NoScheduleOfTheThreadsChangesABit) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "schedules are the executor's";
    const Batch b = batch({2, 1, 3, 7, 40}, 2, 0.1);
    expect_no_schedule_shows(loss_from_name("topk(25)"), b);
}

TEST(HardestVoxelsOnCpu, AllThreadCountsGiveTheSameBits) {
    std::mt19937 random(std::random_device{}());
    const Batch b = random_batch({2, 1, 20, 37, 41}, 3, random);
    expect_no_thread_count_shows(loss_from_name("topk"), b);
}

INSTANTIATE_TEST_SUITE_P(On, HardestVoxels, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
