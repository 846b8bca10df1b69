#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/class_batches.h"
#include "tests/support/golden.h"

// Losses of several classes and regions: in double precision, by nnU-Net's own losses, and where nothing is there.
namespace iwseg {
namespace {

/// Everything a sum may hold: terms of voxels, weighted ones, and those of single lesions.
const std::vector<std::string> kWritten = {"dice",
                                           "ce",
                                           "dice + ce",
                                           "2*dice + 0.5*ce + 0.25*iwce",
                                           "iwdice + iwdl",
                                           "tversky(0.2, 0.8) + wce",
                                           "fl + gdl + unified_focal",
                                           "cat + 0.5*mil",
                                           "ici",
                                           "blob(dice + ce) + ce",
                                           "cc(dice + ce)"};

/// Classes that exclude each other, two, three and five channels; regions of which some lie within others, and one
/// that is nowhere.
struct Choice {
    ClassChannels channels;
    int most;  ///< label
};
const std::vector<Choice> kChoices = {{exclusive_channels(2), 1},
                                      {exclusive_channels(3), 2},
                                      {exclusive_channels(5), 4},
                                      {region_channels({{1, 2, 3}, {2, 3}, {3}}), 3},
                                      {region_channels({{1, 4}, {2, 3}, {1}, {5}, {1, 2, 3, 4}}), 4}};

Shape with_channels(const Shape& shape, const ClassChannels& channels) {
    return {shape.n, channels.channels, shape.d, shape.h, shape.w};
}

class ClassLoss : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    Result compute(const std::string& loss, const ClassBatch& b) const {
        return compute_classes(GetParam(), loss_from_name(loss), b);
    }
    /// Value within 2e-6: a logit against the rest has rounding errors of its own; gradients by central differences,
    /// within 2e-5 of the largest.
    void expect_reference(const std::string& text, const ClassBatch& b) const {
        const Loss loss = loss_from_name(text);
        const Result found = compute(text, b);
        reference::ClassReference r(b);
        const double expected = r.loss(loss);
        ASSERT_NEAR(found.value, expected, 2e-6 * std::fabs(expected) + 1e-9);
        constexpr double step = 1e-4;
        std::size_t kinks = 0;
        for (std::size_t i = 0; i < b.logit.size(); ++i) {
            double& z = r.logits()[i];
            const double before = z;
            z = before + step;
            const double above = r.loss(loss);
            z = before - step;
            const double below = r.loss(loss);
            z = before;
            // Where the largest of a lesion (mil) is another one within the step, there is no gradient to compare with:
            // the slopes of both sides differ by more than a smooth term's curvature makes of the step.
            if (std::fabs(above + below - 2 * expected) > 1e-3 * step * largest(found.gradient) + 1e-12) {
                ++kinks;
                continue;
            }
            ASSERT_NEAR(found.gradient[i], (above - below) / (2 * step), 2e-5 * largest(found.gradient) + 1e-10)
                << "element " << i;
        }
        ASSERT_LE(kinks, b.logit.size() / 20);
    }
};

}  // namespace

TEST_P(ClassLoss, ValuesAndGradientsAgreeWithDoublePrecision) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    for (const std::string& text : kWritten)
        for (const Choice& choice : kChoices)
            for (const bool ignoring : {false, true}) {
                SCOPED_TRACE(testing::Message() << text << ", " << choice.channels.channels << " channels, "
                                                << (choice.channels.exclusive ? "softmax" : "sigmoid"));
                const double spread = std::array{0.3, 2.0, 6.0}[random() % 3];
                expect_reference(text, class_batch(with_channels({2, 1, 2, 3, 5}, choice.channels), choice.channels,
                                                   choice.most, spread, ignoring, random));
                if (HasFatalFailure()) return;
            }
}

TEST_P(ClassLoss, ManyTilesAndBlocksAddUp) {
    std::mt19937 random(std::random_device{}());
    for (const Choice& choice : kChoices) {
        const ClassBatch b = class_batch(with_channels({2, 1, 17, 13, 11}, choice.channels), choice.channels,
                                         choice.most, 3.0, true, random);
        for (const char* text : {"dice + ce", "iwdice", "mil"}) {
            const double expected = reference::ClassReference(b).loss(loss_from_name(text));
            EXPECT_NEAR(compute(text, b).value, expected, 2e-6 * std::fabs(expected)) << text;
        }
    }
}

TEST_P(ClassLoss, NnunetsOwnLossesGiveTheSame) {
    std::ifstream file(kept_golden("class_losses.json"));
    const auto golden = nlohmann::json::parse(file);
    const auto sides = golden.at("shape").get<std::vector<std::int64_t>>();
    ASSERT_EQ(golden.at("losses").size(), 25u);
    for (const auto& one : golden.at("losses")) {
        SCOPED_TRACE(one.at("case").get<std::string>());
        ClassBatch b;
        b.channels = one.contains("channels") ? exclusive_channels(one.at("channels"))
                                              : region_channels(one.at("regions").get<std::vector<std::vector<int>>>());
        b.shape = {2, b.channels.channels, sides[0], sides[1], sides[2]};
        b.logit = one.at("logits").get<std::vector<float>>();
        b.labels = one.at("labels").get<std::vector<std::int32_t>>();
        static_assert(kIgnoredLabel == -1);
        const Result found = compute("dice + ce", b);
        // nnU-Net's Dice runs from -1 to 0.
        EXPECT_NEAR(found.value, one.at("value").get<double>() + 1, 1e-5);
        const auto gradient = one.at("gradient").get<std::vector<float>>();
        ASSERT_EQ(gradient.size(), found.gradient.size());
        for (std::size_t i = 0; i < gradient.size(); ++i)
            ASSERT_NEAR(found.gradient[i], gradient[i], 1e-4 * largest(gradient)) << "element " << i;
    }
}

TEST_P(ClassLoss, TwoClassesOfASoftmaxAreOneChannelOfTheirDifference) {
    std::mt19937 random(std::random_device{}());
    const ClassBatch b = class_batch({2, 2, 3, 5, 7}, exclusive_channels(2), 1, 2.0, false, random);
    Batch one{{2, 1, 3, 5, 7}, {}, {}, {}, {1, 1}};
    for (std::int64_t n = 0; n < 2; ++n)
        for (int v = 0; v < 105; ++v) {
            one.logit.push_back(b.logit[(n * 2 + 1) * 105 + v] - b.logit[n * 2 * 105 + v]);
            one.target.push_back(b.labels[n * 105 + v] == 1);
            one.labels.push_back(0);
        }
    for (const char* text : {"dice + ce", "fl", "tversky"}) {
        const Result found = compute(text, b), binary = iwseg::compute(GetParam(), loss_from_name(text), one);
        EXPECT_NEAR(found.value, binary.value, 1e-6 * binary.value) << text;
        for (std::int64_t n = 0; n < 2; ++n)
            for (int v = 0; v < 105; ++v)
                ASSERT_NEAR(found.gradient[(n * 2 + 1) * 105 + v], binary.gradient[n * 105 + v],
                            1e-5 * largest(binary.gradient))
                    << text;
    }
}

TEST_P(ClassLoss, OneRegionIsTheLossOfOneChannelToTheBit) {
    std::mt19937 random(std::random_device{}());
    const ClassBatch b = class_batch({2, 1, 3, 5, 16}, region_channels({{1}}), 1, 2.0, true, random);
    Batch one{{2, 1, 3, 5, 16}, b.logit, {}, std::vector<std::int32_t>(b.labels.size()), {1, 1}};
    for (const std::int32_t label : b.labels) one.target.push_back(target_of_label(label));
    for (const char* text : {"dice + ce", "fl + gdl"}) {
        const Result found = compute(text, b), binary = iwseg::compute(GetParam(), loss_from_name(text), one);
        EXPECT_EQ(found.value, binary.value) << text;
        EXPECT_TRUE(found.gradient == binary.gradient) << text;
    }
}

TEST_P(ClassLoss, EmptyAndUnknownPatchesGiveFiniteGradients) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& text : kWritten)
        for (const Choice& choice : kChoices)
            for (const std::int32_t label : {0, 1, kIgnoredLabel}) {
                ClassBatch b = class_batch(with_channels({1, 1, 2, 5, 9}, choice.channels), choice.channels,
                                           choice.most, 2.0, false, random);
                std::fill(b.labels.begin(), b.labels.end(), label);
                const Result found = compute(text, b);
                EXPECT_TRUE(std::isfinite(found.value)) << text << ", label " << label;
                for (const float g : found.gradient) {
                    ASSERT_TRUE(std::isfinite(g)) << text << ", label " << label;
                    ASSERT_TRUE(label != kIgnoredLabel || g == 0) << text;
                }
                EXPECT_TRUE(label != kIgnoredLabel || found.value == 0) << text;
            }
}

/// A channel that is sure loses nothing: -log of a probability near 1 is that small number, not 0.
TEST_P(ClassLoss, SureLogitsKeepTheirDigits) {
    ClassBatch b{{1, 3, 1, 1, 1}, exclusive_channels(3), {30, 0, 1}, {0}};
    const double rest = std::exp(-30.0) + std::exp(-29.0);
    const Result right = compute("ce", b);
    EXPECT_NEAR(right.value, rest, 1e-5 * rest);
    EXPECT_NEAR(right.gradient[0], -rest, 1e-5 * rest);
    EXPECT_NEAR(right.gradient[2], std::exp(-29.0), 1e-5 * rest);
    b.labels = {1};
    const Result wrong = compute("ce", b);
    EXPECT_NEAR(wrong.value, 30, 1e-5);
    EXPECT_NEAR(wrong.gradient[0], 1, 1e-6);
    EXPECT_NEAR(wrong.gradient[1], -1, 1e-6);
    for (const float z : {-3e4f, 3e4f})
        for (const std::string& text : kWritten) {
            b.logit = {z, 0, -z};
            for (const float g : compute(text, b).gradient) ASSERT_TRUE(std::isfinite(g)) << text << " at " << z;
        }
}

TEST_P(ClassLoss, WhatIsNoNumberIsSeen) {
    std::mt19937 random(std::random_device{}());
    for (const Choice& choice : kChoices)
        for (int k = 0; k < choice.channels.channels; ++k) {
            ClassBatch b = class_batch(with_channels({1, 1, 3, 5, 7}, choice.channels), choice.channels, choice.most,
                                       2.0, false, random);
            b.logit[static_cast<std::size_t>(k * 105 + 17)] = kNan;
            EXPECT_TRUE(std::isnan(compute("dice + ce", b).value)) << "channel " << k;
        }
}

TEST_P(ClassLoss, Bf16LogitsGiveTheLossOfTheRoundedLogits) {
    std::mt19937 random(std::random_device{}());
    for (const Choice& choice : kChoices) {
        ClassBatch b = class_batch(with_channels({2, 1, 3, 7, 9}, choice.channels), choice.channels, choice.most, 3.0,
                                   true, random);
        for (float& z : b.logit) z = round_to_bf16(z);
        const Loss loss = loss_from_name("dice + ce");
        const Result exact = compute_classes(GetParam(), loss, b), found = compute_classes<Bf16>(GetParam(), loss, b);
        EXPECT_EQ(found.value, exact.value);
        for (std::size_t i = 0; i < b.logit.size(); ++i) ASSERT_EQ(found.gradient[i], round_to_bf16(exact.gradient[i]));
    }
}

TEST_P(ClassLoss, GradientsAreAddedWhereAsked) {
    std::mt19937 random(std::random_device{}());
    for (const Choice& choice : kChoices) {
        const ClassBatch b = class_batch(with_channels({2, 1, 3, 5, 7}, choice.channels), choice.channels, choice.most,
                                         2.0, true, random);
        const Loss loss = loss_from_name("dice + ce");
        const Result alone = compute_classes(GetParam(), loss, b);
        const Result added = compute_classes(GetParam(), loss, b, Write::accumulate);  // to 0.5
        for (std::size_t i = 0; i < b.logit.size(); ++i) ASSERT_NEAR(added.gradient[i], 0.5f + alone.gradient[i], 1e-7);
    }
}

TEST_P(ClassLoss, ThreadsDoNotShow) {
    if (GetParam() != TestBackend::cpu) GTEST_SKIP() << "of the CPU alone";
    std::mt19937 random(std::random_device{}());
    ThreadPool threads(3);
    for (const Choice& choice : kChoices)
        for (const std::string& text : kWritten) {
            const ClassBatch b = class_batch(with_channels({2, 1, 9, 14, 15}, choice.channels), choice.channels,
                                             choice.most, 2.0, true, random);
            const Result one = compute(text, b), three = compute_classes(GetParam(), loss_from_name(text), b,
                                                                         Write::overwrite, threads.stream());
            EXPECT_EQ(one.value, three.value) << text;
            EXPECT_TRUE(one.gradient == three.gradient) << text;
        }
}

TEST_P(ClassLoss, OtherChannelsThanTheLogitsAreRefused) {
    const Backend& device = backend_of(GetParam());
    const Loss loss = loss_from_name("dice + ce");
    EXPECT_THROW(ClassLossProgram(loss, {exclusive_channels(3)}, device, {1, 2, 2, 2, 2}), std::invalid_argument);
    EXPECT_THROW(ClassLossProgram(loss, {exclusive_channels(1)}, device, {1, 1, 2, 2, 2}), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, ClassLoss, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
