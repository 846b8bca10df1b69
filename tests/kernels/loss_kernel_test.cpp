#include "kernels/loss/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <stdexcept>
#include <variant>
#include <vector>

#include "base/error.h"
#include "engine/safetensors.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/loss/exp_log.h"
#include "tests/support/golden.h"
#include "tests/support/loss_fixture.h"

namespace iwseg {
namespace {

Batch golden_batch(const std::map<std::string, StoredTensor>& golden) {
    const auto& shape = golden.at("logit.train").shape;
    Batch b{{shape[0], shape[1], shape[2], shape[3], shape[4]},
            golden.at("logit.train").as_f32(),
            {},
            golden.at("cc").as_i32(),
            {},
            1};
    const std::vector<float> target = golden.at("target").as_f32(), weight = golden.at("weight").as_f32();
    b.target.assign(target.begin(), target.end());
    for (const std::int32_t label : b.labels) b.stride = std::max<std::int64_t>(b.stride, label + 1);
    b.table.assign(b.shape.n * b.stride, 0.0f);
    for (std::size_t v = 0; v < weight.size(); ++v)
        b.table[static_cast<std::int64_t>(v) / b.shape.voxels() * b.stride + b.labels[v]] = weight[v];
    return b;
}

}  // namespace

TEST_P(LossKernel, GoldenLossesHoldTo1e6AndTheirGradientsTo1e5OfTheLargest) {
    for (const char* name : {"unet_two_channel", "unet_narrow"}) {
        const std::filesystem::path file = golden_file(std::string(name) + ".golden.safetensors");
        if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file << " here";
        const auto golden = read_safetensors(file);
        const Batch b = golden_batch(golden);
        for (const std::string& loss_name : loss_names()) {
            if (!golden.contains(loss_name + ".loss")) continue;
            SCOPED_TRACE(std::string(name) + " " + loss_name);
            double expected = 0;
            std::memcpy(&expected, golden.at(loss_name + ".loss").bytes.data(), sizeof(double));
            const Result found = compute(loss_from_name(loss_name), b);
            EXPECT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
            const std::vector<float> gradient = golden.at(loss_name + ".dlogit").as_f32();
            float worst = 0;
            for (std::size_t v = 0; v < gradient.size(); ++v)
                worst = std::max(worst, std::fabs(found.gradient[v] - gradient[v]));
            EXPECT_LT(worst, 1e-5f * largest(gradient));
            std::printf("%-16s %-6s loss off by %.1e, gradient by %.1e of the largest\n", name, loss_name.c_str(),
                        std::fabs(found.value / expected - 1), worst / largest(gradient));
        }
    }
}

TEST_P(LossKernel, ValuesAndGradientsAgreeWithDoublePrecision) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    for (const std::string& name : loss_names())
        for (const double spread : {0.1, 2.0, 12.0}) {
            SCOPED_TRACE(testing::Message() << name << ", logits of deviation " << spread);
            const Batch b = random_batch({2, 1, 3, 7, 11}, spread, random);
            const Loss loss = loss_from_name(name);
            const Result found = compute(loss, b);
            const double expected = reference::loss(loss, in_double(b));
            ASSERT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
            expect_gradient_of_reference(loss, b, found, b.shape.elements());
            if (HasFatalFailure()) return;
        }
}

TEST_P(LossKernel, ManyChunksAndWholeNumbersOfVoxelsAddUp) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& name : loss_names())
        for (const Shape shape : {Shape{2, 1, 32, 32, 32}, Shape{3, 1, 17, 33, 61}}) {
            const Batch b = random_batch(shape, 3.0, random);
            const Loss loss = loss_from_name(name);
            const double expected = reference::loss(loss, in_double(b));
            EXPECT_NEAR(compute(loss, b).value, expected, 1e-6 * std::fabs(expected)) << name;
        }
}

TEST_P(LossKernel, OtherParametersOfFocalAndAsymmetricLossAreRight) {
    std::mt19937 random(std::random_device{}());
    const Batch b = random_batch({2, 1, 3, 5, 9}, 3.0, random);
    for (const LossOptions options : {LossOptions{0.25f, 1.0f, 1.0f}, LossOptions{0.83f, 2.5f, 0.7f},
                                      LossOptions{0.5f, 0.0f, 3.0f}, LossOptions{0.5f, 5.0f, 2.0f}})
        for (const char* name : {"fl", "iwfl", "asl", "iwasl"}) {
            const Loss loss = loss_from_name(name, options);
            const Result found = compute(loss, b);
            const double expected = reference::loss(loss, in_double(b));
            ASSERT_NEAR(found.value, expected, 1e-6 * std::fabs(expected)) << name;
            expect_gradient_of_reference(loss, b, found, b.shape.elements());
            if (HasFatalFailure()) return;
        }
}

TEST_P(LossKernel, SureAndRightLogitsGiveFiniteLossesAndGradients) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& name : loss_names())
        for (const float sure : {30.0f, 100.0f, 1e30f, kInfinity}) {
            Batch b = random_batch({2, 1, 2, 6, 9}, 1.0, random);
            for (std::size_t v = 0; v < b.logit.size(); v += 3) b.logit[v] = b.target[v] ? sure : -sure;
            SCOPED_TRACE(testing::Message() << name << " at " << sure);
            const Loss loss = loss_from_name(name);
            const Result found = compute(loss, b);
            const double expected = reference::loss(loss, in_double(b));
            EXPECT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
            for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g));
            if (name == "wce") continue;  // there every voxel moves the weight of the positive ones
            for (std::size_t v = 0; v < b.logit.size(); v += 3) ASSERT_NEAR(found.gradient[v], 0.0, 1e-9);
        }
}

// 1 - p of a sure voxel has all its digits: taken from p, nothing of it would be left. To a few roundings of f32.
TEST_P(LossKernel, SureAndRightVoxelsKeepTheDigitsOfTheirGradients) {
    const Loss loss = loss_from_name("bce");
    for (const float sure : {12.0f, 20.0f, 60.0f}) {
        Batch b{{1, 1, 1, 3, 7},
                std::vector<float>(21, sure),
                std::vector<std::uint8_t>(21, 1),
                std::vector<std::int32_t>(21, 1),
                {1.0f, 1.0f},
                2};
        for (std::size_t v = 0; v < 21; v += 2) b.logit[v] = -sure, b.target[v] = 0, b.labels[v] = 0;
        const double expected = 1 / (1 + std::exp(static_cast<double>(sure))) / 21;
        const Result found = compute(loss, b);
        for (std::size_t v = 0; v < 21; ++v)
            ASSERT_NEAR(found.gradient[v], b.target[v] ? -expected : expected, 1e-6 * expected) << "at " << sure;
    }
}

TEST_P(LossKernel, FocalPowersOfInfinitelySureVoxelsAreRight) {
    std::mt19937 random(std::random_device{}());
    for (const float gamma : {0.0f, 0.5f, 1.0f, 2.5f}) {
        Batch b = random_batch({1, 1, 2, 5, 9}, 1.0, random);
        for (std::size_t v = 0; v < b.logit.size(); v += 3) b.logit[v] = b.target[v] ? kInfinity : -kInfinity;
        const Loss loss = loss_from_name("fl", {.focal_gamma = gamma});
        const Result found = compute(loss, b);
        const double expected = reference::loss(loss, in_double(b));
        EXPECT_NEAR(found.value, expected, 1e-6 * std::fabs(expected)) << "gamma " << gamma;
        for (std::size_t v = 0; v < b.logit.size(); v += 3) ASSERT_EQ(found.gradient[v], 0.0f) << "gamma " << gamma;
    }
}

TEST_P(LossKernel, SureAndWrongLogitsCostWhatTheFormulaSays) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& name : loss_names()) {
        SCOPED_TRACE(name);
        Batch b = random_batch({1, 1, 2, 6, 9}, 1.0, random);
        for (std::size_t v = 0; v < b.logit.size(); v += 3) b.logit[v] = b.target[v] ? -100.0f : 100.0f;
        const Loss loss = loss_from_name(name);
        Result found = compute(loss, b);
        const double expected = reference::loss(loss, in_double(b));
        EXPECT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
        expect_gradient_of_reference(loss, b, found, b.shape.elements());
        // Infinitely wrong: overlaps are bounded; cross-entropies are infinite, their gradients are not.
        b.logit[0] = b.target[0] ? -kInfinity : kInfinity;
        found = compute(loss, b);
        const formulas::Formula& formula = loss.terms[0].formula;
        const bool bounded = std::holds_alternative<formulas::Overlap>(formula) ||
                             std::holds_alternative<formulas::GeneralisedDice>(formula);
        EXPECT_EQ(std::isfinite(found.value), bounded);
        EXPECT_FALSE(std::isnan(found.value));
        for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g));
    }
}

TEST_P(LossKernel, ANotANumberLogitIsNotHidden) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& name : loss_names()) {
        Batch b = random_batch({2, 1, 1, 9, 20}, 1.0, random);
        b.logit[random() % b.logit.size()] = kNan;
        EXPECT_TRUE(std::isnan(compute(loss_from_name(name), b).value)) << name;
    }
}

TEST_P(LossKernel, ZeroDenominatorGivesZeroLossAndGradient) {
    std::mt19937 random(std::random_device{}());
    for (const char* name : {"dl", "iwdl", "asl", "iwasl"}) {
        SCOPED_TRACE(name);
        Batch b = random_batch({2, 1, 2, 5, 9}, 1.0, random);
        for (std::int64_t v = 0; v < b.shape.voxels(); ++v) b.logit[v] = -kInfinity, b.target[v] = 0, b.labels[v] = 0;
        const Loss loss = loss_from_name(name);
        const Result found = compute(loss, b);
        for (std::int64_t v = 0; v < b.shape.voxels(); ++v) ASSERT_EQ(found.gradient[v], 0.0f);
        // The other sample counts as before: it is half of the mean.
        const double expected = reference::loss(loss, in_double(b));
        EXPECT_NEAR(found.value, expected, 1e-6);
        expect_gradient_of_reference(loss, b, found, b.shape.elements());
    }
    Batch b = random_batch({2, 1, 2, 5, 9}, 1.0, random);
    for (float& z : b.logit) z = -kInfinity;
    const Result found = compute(loss_from_name("wce"), b);
    EXPECT_EQ(found.value, 0.0);
    EXPECT_EQ(largest(found.gradient), 0.0f);
}

TEST_P(LossKernel, PatchesWithoutLesionOrWithNothingElseAreFinite) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& name : loss_names())
        for (const int target : {0, 1})
            for (const float shift : {-60.0f, -40.0f, 0.0f, 40.0f}) {
                SCOPED_TRACE(testing::Message() << name << ", target " << target << ", logits near " << shift);
                Batch b = random_batch({1, 1, 2, 5, 9}, 1.0, random);
                for (std::size_t v = 0; v < b.logit.size(); ++v)
                    b.logit[v] += shift, b.target[v] = target, b.labels[v] = target;
                const Result found = compute(loss_from_name(name), b);
                EXPECT_TRUE(std::isfinite(found.value));
                for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g));
            }
}

TEST(LossKernelOnCpu, AllThreadCountsGiveTheSameBits) {
    std::mt19937 random(std::random_device{}());
    const Batch b = random_batch({2, 1, 40, 37, 41}, 3.0, random);
    for (const std::string& name : loss_names()) {
        const Result one = compute(TestBackend::cpu, loss_from_name(name), b);
        for (int threads = 2; threads <= 4; ++threads) {
            ThreadPool pool(threads);
            const Result many = compute(TestBackend::cpu, loss_from_name(name), b, pool.stream());
            EXPECT_EQ(std::memcmp(&one.value, &many.value, sizeof(double)), 0) << name;
            EXPECT_TRUE(one.gradient == many.gradient) << name;
        }
    }
}

TEST_P(LossKernel, Bf16LogitsGiveTheLossOfTheRoundedLogits) {
    std::mt19937 random(std::random_device{}());
    Batch b = random_batch({2, 1, 3, 7, 30}, 3.0, random);
    for (float& z : b.logit) z = round_to_bf16(z);
    for (const std::string& name : loss_names()) {
        const Result exact = compute(loss_from_name(name), b), found = compute<Bf16>(loss_from_name(name), b);
        EXPECT_EQ(found.value, exact.value) << name;
        for (std::size_t v = 0; v < b.logit.size(); ++v)
            ASSERT_EQ(found.gradient[v], round_to_bf16(exact.gradient[v])) << name;
    }
}

TEST(ExpLog, ExponentialAndLogarithmAreAccurate) {
    for (float x = -87.0f; x <= 0; x += 0.00137f) {
        const double exact = std::exp(static_cast<double>(x));
        ASSERT_NEAR(exp_nonpositive(x), exact, 3e-7 * exact) << x;
        ASSERT_NEAR(log1p_unit(static_cast<float>(exact)), std::log1p(static_cast<double>(static_cast<float>(exact))),
                    3e-7 * exact)
            << exact;
    }
    EXPECT_EQ(exp_nonpositive(-kInfinity), 0.0f);
    EXPECT_EQ(exp_nonpositive(0.0f), 1.0f);
    EXPECT_TRUE(std::isnan(exp_nonpositive(kNan)));
}

TEST(Losses, AnUnknownNameIsAnsweredWithTheNearest) {
    try {
        loss_from_name("iwdll");
        FAIL() << "an unknown loss was taken";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("'iwdl'"), std::string::npos) << error.what();
    }
    EXPECT_THROW(loss_from_name("fl", {.focal_alpha = 1.5f}), InputError);
    EXPECT_EQ(loss_names().size(), 10u);
    for (const std::string& name : loss_names()) EXPECT_EQ(loss_from_name(name).weighted(), name.starts_with("iw"));
}

TEST_P(LossKernel, OnlyLabelsOfLesionVoxelsAreRead) {
    // What components leave in the labels of background is anything.
    std::mt19937 random(std::random_device{}());
    for (const Shape& shape : {Shape{2, 1, 4, 8, 16}, Shape{1, 1, 3, 7, 11}}) {
        Batch b = random_batch(shape, 2.0, random);
        const Result expected = compute(loss_from_name("iwdl"), b);
        for (std::size_t v = 0; v < b.labels.size(); ++v)
            if (b.target[v] == 0) b.labels[v] = static_cast<std::int32_t>(random());
        const Result found = compute(loss_from_name("iwdl"), b);
        EXPECT_EQ(found.value, expected.value);
        EXPECT_TRUE(found.gradient == expected.gradient);
    }
}

TEST_P(LossKernel, PacksAndSingleVoxelsGiveTheSameGradient) {
    // 16 voxels are packs of any type; read as 3 patches of 5 they are none. Per-voxel losses do not see the
    // difference.
    std::mt19937 random(std::random_device{}());
    Batch packed = random_batch({3, 1, 2, 4, 16}, 2.0, random), single = packed;
    single.shape = {1, 1, 1, 1, 383};
    packed.logit.back() = packed.target.back() = packed.labels.back() = 0;  // worth log 2, and known
    single.logit.pop_back(), single.target.pop_back(), single.labels.pop_back();
    for (const char* name : {"bce", "fl"}) {
        const Result all = compute(loss_from_name(name), packed), most = compute(loss_from_name(name), single);
        for (std::size_t v = 0; v < 383; ++v) ASSERT_NEAR(all.gradient[v] * 384, most.gradient[v] * 383, 1e-6) << name;
        const double rest = std::log(2.0) * (std::string(name) == "fl" ? 0.25 * 0.25 : 1.0);
        EXPECT_NEAR(all.value * 384, most.value * 383 + rest, 1e-6 * all.value * 384) << name;
    }
}

TEST_P(LossKernel, InputsThatDoNotFitAreRefused) {
    const Backend& device = backend_of(GetParam());
    std::mt19937 random(std::random_device{}());
    Batch b = random_batch({1, 1, 2, 2, 2}, 1.0, random);
    double value = 0, scratch[64];
    LossInput input{{b.logit.data(), b.shape, Type::f32}, b.target.data(), b.labels.data(), b.table.data(), b.stride};
    const auto refused = [&](const LossPass& pass) {
        EXPECT_THROW(device.loss_value({}, pass, input, scratch, &value, Write::overwrite), std::invalid_argument);
    };
    const LossPass overlap{formulas::Scaled<formulas::Overlap>{{}, 1}};
    refused({formulas::Scaled<formulas::GeneralisedDice>{{}, 1}, true});
    input.logit.shape = {1, 2, 1, 2, 2};
    refused(overlap);
    input.logit.shape = b.shape;
    input.labels = nullptr;
    refused({overlap.formula, true});
}

INSTANTIATE_TEST_SUITE_P(On, LossKernel, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
