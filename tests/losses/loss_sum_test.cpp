#include "losses/loss_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "losses/loss_passes.h"
#include "losses/term_names.h"
#include "tests/support/loss_fixture.h"

namespace iwseg {
namespace {

const std::vector<std::string> kSumsWritten = {"dice",
                                               "ce",
                                               "dice + ce",
                                               "iwdice + iwce",
                                               "dice+0.5*iwce",
                                               "iwdice+ce",
                                               "2 * iwdice + dice",
                                               "ce + 3*iwce + dice",
                                               "dice + 0.5*fl",
                                               "iwdl + ce",
                                               "2*dice + ce + 0.1*iwasl + gdl",
                                               "3*wce",
                                               "tversky",
                                               "iwtversky + ce",
                                               "focal_tversky",
                                               "iwfocal_tversky + tversky(0.4, 0.6)",
                                               "unified_focal",
                                               "ce + 2*unified_focal(0.3, 0.7, 0.2)"};

std::string refusal(const std::string& text) {
    try {
        loss_from_name(text);
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

class LossSum : public LossKernel {};

}  // namespace

TEST_P(LossSum, ValuesAndGradientsAgreeWithDoublePrecision) {
    // 1e-6 for the value and 1e-5 of the largest gradient: as for the study's losses.
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    for (const std::string& text : kSumsWritten)
        for (const double spread : {0.1, 2.0, 12.0}) {
            SCOPED_TRACE(testing::Message() << text << ", logits of deviation " << spread);
            const Batch b = random_batch({2, 1, 3, 7, 11}, spread, random);
            const Loss loss = loss_from_name(text);
            const Result found = compute(loss, b);
            const double expected = reference::loss(loss, in_double(b));
            ASSERT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
            expect_gradient_of_reference(loss, b, found, b.shape.elements());
            if (HasFatalFailure()) return;
        }
}

TEST_P(LossSum, ManyChunksAndPacksAddUp) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& text : kSumsWritten)
        for (const Shape shape : {Shape{2, 1, 32, 32, 32}, Shape{3, 1, 17, 33, 61}}) {
            const Batch b = random_batch(shape, 3.0, random);
            const Loss loss = loss_from_name(text);
            const double expected = reference::loss(loss, in_double(b));
            EXPECT_NEAR(compute(loss, b).value, expected, 1e-6 * std::fabs(expected)) << text;
        }
}

TEST_P(LossSum, Bf16LogitsGiveTheLossOfTheRoundedLogits) {
    std::mt19937 random(std::random_device{}());
    Batch b = random_batch({2, 1, 3, 7, 30}, 3.0, random);
    for (float& z : b.logit) z = round_to_bf16(z);
    for (const std::string& text : kSumsWritten) {
        const Result exact = compute(loss_from_name(text), b), found = compute<Bf16>(loss_from_name(text), b);
        EXPECT_EQ(found.value, exact.value) << text;
        // Each pass but the first rounds once more, of an element as large as any of the terms'.
        const auto passes = static_cast<float>(loss_passes(loss_from_name(text)).size());
        const float tolerance = (passes - 1) * largest(exact.gradient) / 64;
        for (std::size_t v = 0; v < b.logit.size(); ++v)
            ASSERT_NEAR(found.gradient[v], round_to_bf16(exact.gradient[v]), tolerance) << text;
    }
}

TEST_P(LossSum, EmptyFullAndOneVoxelTargetsAgreeWithDoublePrecision) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& text : kSumsWritten)
        for (const int lesion : {0, 1, 90}) {
            SCOPED_TRACE(testing::Message() << text << ", " << lesion << " voxels of lesion of 90");
            Batch b = random_batch({1, 1, 2, 5, 9}, 1.0, random);
            for (int v = 0; v < 90; ++v) b.target[v] = b.labels[v] = v < lesion;
            const Loss loss = loss_from_name(text);
            const Result found = compute(loss, b);
            const double expected = reference::loss(loss, in_double(b));
            EXPECT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
            expect_gradient_of_reference(loss, b, found, b.shape.elements());
            if (HasFatalFailure()) return;
        }
}

TEST_P(LossSum, SureLogitsGiveFiniteGradients) {
    std::mt19937 random(std::random_device{}());
    for (const std::string& text : kSumsWritten)
        for (const float z : {-kInfinity, -100.0f, 100.0f, kInfinity})
            for (const int target : {0, 1}) {
                Batch b = random_batch({2, 1, 2, 5, 9}, 1.0, random);
                for (std::size_t v = 0; v < b.logit.size(); ++v) b.logit[v] = z, b.target[v] = b.labels[v] = target;
                const Result found = compute(loss_from_name(text), b);
                EXPECT_FALSE(std::isnan(found.value)) << text << " at " << z << ", target " << target;
                EXPECT_TRUE(text != "dice" || std::isfinite(found.value)) << "a term that is not there adds nothing";
                for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g)) << text << " at " << z;
            }
}

TEST_P(LossSum, CrossEntropyAloneIsTheStudys) {
    std::mt19937 random(std::random_device{}());
    const Batch b = random_batch({2, 1, 5, 7, 16}, 2.0, random);
    for (const auto& [sum, name] : {std::pair("ce", "bce"), std::pair("iwce", "iwbce")}) {
        const Result found = compute(loss_from_name(sum), b), study = compute(loss_from_name(name), b);
        EXPECT_EQ(found.value, study.value);
        EXPECT_TRUE(found.gradient == study.gradient);
    }
}

TEST_P(LossSum, APatchWithoutLesionTeachesUnsmoothedDiceNothingAndCrossEntropyMuch) {
    // Numerator and its derivative hold the target as a factor: what a network marks where nothing is costs nothing.
    std::mt19937 random(std::random_device{}());
    Batch b = random_batch({1, 1, 4, 6, 16}, 2.0, random);
    std::fill(b.target.begin(), b.target.end(), std::uint8_t{0});
    std::fill(b.labels.begin(), b.labels.end(), 0);
    for (const char* name : {"dl", "iwdl", "asl", "iwasl"}) {
        const Result found = compute(loss_from_name(name), b);
        EXPECT_NEAR(found.value, 1.0, 1e-6) << name;  // f32 terms of numerator and denominator, summed apart
        for (const float g : found.gradient) ASSERT_EQ(g, 0.0f) << name;
    }
    for (const char* name : {"dice + ce", "iwdice + iwce", "gdl", "bce", "fl"}) {
        const Result found = compute(loss_from_name(name), b);
        for (std::size_t v = 0; v < b.logit.size(); ++v) ASSERT_GT(found.gradient[v], 0.0f) << name << ", voxel " << v;
    }
    // Beside a patch with a lesion it shares that patch's denominator.
    Batch both = random_batch({2, 1, 4, 6, 16}, 2.0, random);
    for (std::int64_t v = 0; v < both.shape.voxels(); ++v) both.target[v] = both.labels[v] = 0;
    const Result of_batch = compute(loss_from_name("dice"), both), of_sample = compute(loss_from_name("dl"), both);
    for (std::int64_t v = 0; v < both.shape.voxels(); ++v) {
        ASSERT_GT(of_batch.gradient[v], 0.0f);
        ASSERT_EQ(of_sample.gradient[v], 0.0f);
    }
}

INSTANTIATE_TEST_SUITE_P(On, LossSum, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(LossNames, SumsAreReadWithOrWithoutSpacesAndFactors) {
    for (const char* text : {"dice + ce", "dice+bce", " 1*dice +\t1.0 * ce "}) {
        const std::vector<LossTerm> terms = read_loss_sum(text);
        ASSERT_EQ(terms.size(), 2u) << text;
        EXPECT_EQ(terms[0].name, "dice") << text;
        EXPECT_EQ(terms[1].name, "ce") << text;
        for (const LossTerm& term : terms) EXPECT_TRUE(term.factor == 1 && !term.weighted) << text;
    }
    const std::vector<LossTerm> terms = read_loss_sum("0.5*iwdice + 1e-2*iwbce + iwdice");
    ASSERT_EQ(terms.size(), 2u);
    EXPECT_TRUE(terms[0].name == "iwdice" && terms[0].factor == 1.5f && terms[0].weighted);
    EXPECT_TRUE(terms[1].name == "iwce" && terms[1].factor == 0.01f && terms[1].weighted);
    EXPECT_FALSE(loss_from_name("dice + ce").weighted());
    EXPECT_TRUE(loss_from_name("dice + iwce").weighted());
}

TEST(LossNames, ASumHasOneSpelling) {
    for (const char* text : {"dice+ce", "ce + dice", " 1*bce +\t1.0 * dice", "0.5*ce + dice + 0.5*bce"})
        EXPECT_EQ(loss_from_name(text).name, "dice + ce") << text;
    EXPECT_EQ(loss_from_name("0.50*iwbce+iwdice").name, "iwdice + 0.5*iwce");
    EXPECT_EQ(loss_from_name("ce").name, "ce");
    // Read again, it is the same sum to the last bit.
    std::mt19937 random(std::random_device{}());
    std::uniform_real_distribution<float> exponent(-30.0f, 19.0f);
    for (int round = 0; round < 1000; ++round) {
        std::vector<LossTerm> terms;
        for (const char* name : {"dice", "iwdice", "ce", "iwce", "gdl", "asl", "iwfl"}) {
            if (random() % 3 == 0) continue;
            terms.push_back(*find_loss_term(name, {}));
            terms.back().factor = std::exp2(exponent(random));
        }
        if (terms.empty()) continue;
        const std::vector<LossTerm> again = read_loss_sum(loss_sum_text(terms));
        EXPECT_TRUE(std::equal(terms.begin(), terms.end(), again.begin(), again.end(),
                               [](const LossTerm& a, const LossTerm& b) {
                                   return a.name == b.name && a.formula == b.formula && a.factor == b.factor;
                               }))
            << loss_sum_text(terms);
    }
    EXPECT_NE(refusal("1e6*dice + 1*dice").find("add up to more than"), std::string::npos);
    EXPECT_NE(refusal("blob(1e6*ce + ce)").find("add up to more than"), std::string::npos);
}

TEST(LossNames, WhatIsNoSumIsAnsweredWithTheNearestTermOrWhatWasExpected) {
    EXPECT_NE(refusal("dise + ce").find("nearest: 'dice'"), std::string::npos) << refusal("dise + ce");
    EXPECT_NE(refusal("iwdise").find("nearest: 'iwdice'"), std::string::npos) << refusal("iwdise");
    EXPECT_NE(refusal("dice + ").find("missing at the end"), std::string::npos) << refusal("dice + ");
    EXPECT_NE(refusal("dice ce").find("'ce' stands where"), std::string::npos) << refusal("dice ce");
    EXPECT_NE(refusal("2 dice").find("* was expected"), std::string::npos) << refusal("2 dice");
    for (const char* text : {"2dice", "0.5ce", ".5ce", "2"})
        EXPECT_NE(refusal(text).find("* was expected after the factor"), std::string::npos) << refusal(text);
    for (const char* name : {"iwwce", "iwgdl"})
        EXPECT_NE(refusal(name + std::string(" + ce")).find("is no term"), std::string::npos) << name;
    for (const char* text : {"-1*dice", "0*ce", "1e9*ce", "nan*ce", "dice - ce", "+ dice", "dice + + ce", "", "dice*2"})
        EXPECT_NE(refusal(text), "") << "'" << text << "' was taken";
}

TEST(LossNames, NumbersMayBeTheirBounds) {
    for (const char* text :
         {"topk(0.01)", "topk(100)", "tversky(0.001, 100)", "focal_tversky(1, 1, 0.1)", "unified_focal(0, 1, 0.99)"})
        EXPECT_EQ(refusal(text), "") << text;
    for (const char* text : {"topk(0)", "topk(101)", "unified_focal(0, 1, 0.991)"})
        EXPECT_NE(refusal(text), "") << text;
}

TEST(LossPasses, TermsThatHaveASumOfTheirOwnAreOnePass) {
    const auto passes = [](const char* text) { return loss_passes(loss_from_name(text)); };
    for (const char* text : {"dice", "ce", "iwdl", "fl", "dice + ce", "iwdice + 2*iwce", "iwdice + ce",
                             "dice + iwdice + ce + iwce", "dice + iwdice"})
        EXPECT_EQ(passes(text).size(), 1u) << text;
    for (const char* text : {"dice + fl", "dl + ce", "dice + ce + iwasl", "iwdice + ce + gdl"})
        EXPECT_EQ(passes(text).size(), 2u) << text;
    EXPECT_FALSE(passes("dice + ce")[0].weighted);
    EXPECT_TRUE(passes("iwdice + iwce")[0].weighted);
    EXPECT_TRUE(std::holds_alternative<formulas::DiceAndCrossEntropy>(passes("iwdice + iwce")[0].formula));
    EXPECT_TRUE(std::holds_alternative<formulas::MixedDiceAndCrossEntropy>(passes("iwdice + ce")[0].formula));
    EXPECT_TRUE(std::holds_alternative<formulas::Scaled<formulas::SoftDice>>(passes("dice")[0].formula));
}

TEST(LossNames, LossesAreAddedUpAndScaled) {
    EXPECT_EQ((dice() + 0.5f * bce() + bce()).name, "dice + 1.5*ce");
    EXPECT_EQ((2 * loss_from_name("fl") + iwdice()).name, "iwdice + 2*fl");
    EXPECT_THROW(0 * dice(), InputError);
    // Of other options it is another term.
    EXPECT_EQ((loss_from_name("fl") + loss_from_name("fl", {.focal_gamma = 1})).terms.size(), 2u);
}

}  // namespace iwseg
