#include "losses/loss_syntax.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "losses/loss.h"

namespace iwseg {
namespace {

std::string refusal(const std::string& text) {
    try {
        loss_from_name(text);
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

bool says(const std::string& text, const std::string& expected) {
    return refusal(text).find(expected) != std::string::npos;
}

}  // namespace

TEST(LossSyntax, NumbersSumsAndWarmUpsAreReadAsTheyAreWritten) {
    const auto terms = read_loss_syntax("0.5*tversky(0.2,.8)+ x(2*y + z( 1 )) @warmup 1.5", "");
    ASSERT_EQ(terms.size(), 2u);
    EXPECT_TRUE(terms[0].factor == 0.5f && terms[0].name == "tversky" && terms[0].warmup == 0);
    EXPECT_EQ(terms[0].numbers, (std::vector<float>{0.2f, 0.8f}));
    ASSERT_EQ(terms[1].inner.size(), 2u);
    EXPECT_TRUE(terms[1].name == "x" && terms[1].numbers.empty() && terms[1].warmup == 1.5f);
    EXPECT_TRUE(terms[1].inner[0].factor == 2 && terms[1].inner[0].name == "y");
    EXPECT_EQ(terms[1].inner[1].numbers, std::vector<float>{1.0f});
}

TEST(LossNames, TermsWithNumbersHaveOneSpelling) {
    EXPECT_EQ(loss_from_name("tversky(0.3,0.70)").name, "tversky");
    EXPECT_EQ(loss_from_name("ce+iwtversky( .2 , 0.80)").name, "ce + iwtversky(0.2, 0.8)");
    EXPECT_EQ(loss_from_name("focal_tversky(0.3, 0.7, 1) + 2*focal_tversky").name,
              "2*focal_tversky + focal_tversky(0.3, 0.7, 1)");
    EXPECT_EQ(loss_from_name("0.1*cat @warmup 50+dice+ce").name, "dice + ce + 0.1*cat @warmup 50");
    EXPECT_EQ(loss_from_name("cc( bce+dice )+blob(.5*ce + 0.5*bce)").name, "blob(ce) + cc(dice + ce)");
    EXPECT_EQ(loss_from_name("mil@warmup 5 + mil + mil@warmup 5.0").name, "mil + 2*mil @warmup 5");
    for (const char* text : {"tversky(0.2, 0.8)", "dice + ce + 0.1*cat @warmup 50", "unified_focal(0.25, 0.7, 0.3)",
                             "dice + 0.5*blob(dice + 2*ce) @warmup 50 + cc(tversky(0.2, 0.8))",
                             "0.5*focal_tversky(0.2, 0.8, 2) @warmup 0.5"})
        EXPECT_EQ(loss_from_name(text).name, text);
}

TEST(LossNames, WarmUpsAreOfEpochs) {
    const Loss loss = loss_from_name("ce + cat @warmup 2.5", {.steps_per_epoch = 40});
    ASSERT_EQ(loss.terms.size(), 2u);
    EXPECT_EQ(loss.terms[0].warmup_steps, 0.0f);
    EXPECT_EQ(loss.terms[1].warmup_steps, 100.0f);
    EXPECT_TRUE(loss.warms_up() && loss.reads_labels() && !loss.weighted());
    EXPECT_FALSE(loss_from_name("ce").reads_labels());
}

TEST(LossNames, WhatCannotBeReadIsSaidInOneSentence) {
    EXPECT_TRUE(says("tversky(0.3)", "takes 2 numbers, over, under")) << refusal("tversky(0.3)");
    EXPECT_TRUE(says("tversky(0, 1)", "tversky's over is 0, expected a number from 0.001 to 100"));
    EXPECT_TRUE(says("dice(1)", "dice takes no numbers")) << refusal("dice(1)");
    EXPECT_TRUE(says("dice(ce)", "dice takes no terms in brackets")) << refusal("dice(ce)");
    EXPECT_TRUE(says("blob", "takes terms in brackets, as in blob(dice + ce)")) << refusal("blob");
    EXPECT_TRUE(says("cc(0.5)", "takes no numbers")) << refusal("cc(0.5)");
    EXPECT_TRUE(says("blob(dise)", "nearest: 'dice'")) << refusal("blob(dise)");
    EXPECT_TRUE(says("blob(dice + iwce)", "'iwce' cannot stand in blob's brackets")) << refusal("blob(dice + iwce)");
    EXPECT_TRUE(says("cc(mil)", "it is of single lesions itself")) << refusal("cc(mil)");
    EXPECT_TRUE(says("cc(ce @warmup 5)", "after its brackets")) << refusal("cc(ce @warmup 5)");
    EXPECT_TRUE(says("tverski(0.3, 0.7)", "nearest: 'tversky'")) << refusal("tverski(0.3, 0.7)");
    EXPECT_TRUE(says("focal_tverksy", "nearest: 'focal_tversky'")) << refusal("focal_tverksy");
    EXPECT_TRUE(says("tversky(0.3, 0.7", "is not closed")) << refusal("tversky(0.3, 0.7");
    EXPECT_TRUE(says("tversky(0.3, x)", "a number was expected after the comma")) << refusal("tversky(0.3, x)");
    EXPECT_TRUE(says("tversky(0.3 0.7)", "stands where the end of tversky's bracket")) << refusal("tversky(0.3 0.7)");
    EXPECT_TRUE(says("cat @warmup", "a number of epochs was expected")) << refusal("cat @warmup");
    EXPECT_TRUE(says("cat @warmup 0", "a number of epochs was expected")) << refusal("cat @warmup 0");
    EXPECT_TRUE(says("cat @warmpu 5", "'@warmpu 5' stands where")) << refusal("cat @warmpu 5");
    EXPECT_TRUE(says("a(b(c(d(e(f(g))))))", "too deep")) << refusal("a(b(c(d(e(f(g))))))");
    for (const char* text :
         {"tversky()", "(dice)", "dice)", "cat(", "@warmup 5", "iwcat", "iwmil", "iwici", "iwunified_focal"})
        EXPECT_NE(refusal(text), "") << "'" << text << "' was taken";
}

TEST(LossSyntax, AnythingIsReadOrRefused) {
    std::mt19937 random(std::random_device{}());
    const std::vector<std::string> words = {"dice", "tversky",       "cat",  "mil", "(",       ")",   "+", "*",
                                            "0.5",  "@warmup",       " ",    ",",   "1e9",     "nan", "@", "-1",
                                            "iwce", "focal_tversky", "blob", "cc",  "\xC3\xA9"};
    for (int round = 0; round < 20000; ++round) {
        std::string text;
        for (std::size_t i = random() % 12; i > 0; --i) text += words[random() % words.size()];
        try {
            const std::string once = loss_from_name(text).name;
            EXPECT_EQ(loss_from_name(once).name, once) << text;
        } catch (const InputError& error) {
            EXPECT_FALSE(std::string(error.what()).empty());
        }
    }
}

}  // namespace iwseg
