// Which instructions are used, of processors and systems that need not be this one.
#include "kernels/cpu/instruction_set.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/support/refusal.h"

namespace iwseg::cpu {
namespace {

int asked = 0;
bool permit() {
    ++asked;
    return true;
}
bool refuse() {
    ++asked;
    return false;
}

ProcessorFeatures sapphire_rapids() {
    return {true, true, true, true, true, permit, [] { return true; }};
}
ProcessorFeatures zen4() {
    return {true, true, true, false, false, nullptr, nullptr};
}

TEST(InstructionSet, IsTheWidestThatTheProcessorHas) {
    EXPECT_EQ(choose_instructions(sapphire_rapids(), nullptr).text, "AVX-512 with AMX");
    EXPECT_EQ(choose_instructions(zen4(), nullptr).text, "AVX-512 with BF16");
    EXPECT_EQ(choose_instructions({true, true}, nullptr).set, InstructionSet::avx512);
    EXPECT_EQ(choose_instructions({true}, nullptr).text, "AVX2");
    EXPECT_EQ(choose_instructions({}, nullptr).set, InstructionSet::baseline);
}

TEST(InstructionSet, IsNoWiderThanTheEnvironmentAllows) {
    const InstructionChoice choice = choose_instructions(sapphire_rapids(), "avx2");
    EXPECT_EQ(choice.set, InstructionSet::avx2);
    EXPECT_EQ(choice.text, "AVX2 (no more is used: IWSEG_ISA is avx2)");
    EXPECT_EQ(choose_instructions(sapphire_rapids(), "avx512_bf16").text,
              "AVX-512 with BF16 (no more is used: IWSEG_ISA is avx512_bf16)");
    EXPECT_EQ(choose_instructions(zen4(), "").text, "AVX-512 with BF16");
    EXPECT_EQ(choose_instructions(zen4(), "amx").text, "AVX-512 with BF16");
    EXPECT_EQ(choose_instructions(zen4(), "avx512_bf16").text, "AVX-512 with BF16");
}

TEST(InstructionSet, SaysWhyTilesAreNotUsed) {
    ProcessorFeatures features = sapphire_rapids();
    features.check_tiles = [] { return false; };
    EXPECT_EQ(choose_instructions(features, nullptr).text,
              "AVX-512 with BF16 (AMX is not used: its products came out wrong)");
    EXPECT_TRUE(choose_instructions(features, nullptr).limited) << "oneDNN would use the tiles all the same";
    features.ask_for_tiles = refuse;
    EXPECT_EQ(choose_instructions(features, nullptr).text,
              "AVX-512 with BF16 (AMX is not used: the system does not permit it)");
    features.system_keeps_tiles = false;
    EXPECT_EQ(choose_instructions(features, nullptr).text,
              "AVX-512 with BF16 (AMX is not used: the system does not save its tiles)");
}

TEST(InstructionSet, AsksTheSystemForTilesOnlyToUseThem) {
    ProcessorFeatures features = sapphire_rapids();
    asked = 0;
    static_cast<void>(choose_instructions(features, "avx512"));
    EXPECT_EQ(asked, 0);
    static_cast<void>(choose_instructions(features, nullptr));
    EXPECT_EQ(asked, 1);
}

TEST(InstructionSet, RefusesAnUnknownOneInASentence) {
    for (const char* wrong : {"sse", "AVX2", "avx10"})
        EXPECT_EQ(refusal([&] { static_cast<void>(choose_instructions(zen4(), wrong)); }),
                  "the environment's IWSEG_ISA is \"" + std::string(wrong) +
                      "\": expected baseline, avx2, avx512, avx512_bf16 or amx");
}

TEST(InstructionSet, OfArmIsNeonOrLess) {
    ProcessorFeatures arm;
    arm.neon = true;
    EXPECT_EQ(choose_instructions(arm, nullptr).text, "NEON");
    EXPECT_EQ(choose_instructions(arm, "neon").text, "NEON");
    EXPECT_EQ(choose_instructions(arm, "baseline").text, "baseline (no more is used: IWSEG_ISA is baseline)");
    EXPECT_EQ(refusal([&] { static_cast<void>(choose_instructions(arm, "avx2")); }),
              "the environment's IWSEG_ISA is \"avx2\": expected baseline or neon");
    EXPECT_EQ(refusal([&] { static_cast<void>(choose_instructions(zen4(), "neon")); }),
              "the environment's IWSEG_ISA is \"neon\": expected baseline, avx2, avx512, avx512_bf16 or amx");
}

}  // namespace
}  // namespace iwseg::cpu
