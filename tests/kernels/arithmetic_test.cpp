// What `iwseg bench` measures a kernel's floor by.
#include "kernels/device/arithmetic_cpu.h"

#include <gtest/gtest.h>

#include <string>

namespace iwseg::cpu {
namespace {

TEST(Arithmetic, IsThatOfTheInstructionSetAndNamesIt) {
    const auto name = [](InstructionSet set, bool bf16) { return std::string(arithmetic_of(set, bf16).name); };
    EXPECT_EQ(name(InstructionSet::baseline, false), "f32 by vectors of four");
#if defined(__x86_64__)
    EXPECT_EQ(name(InstructionSet::avx2, false), "f32 by FMA of AVX2");
    EXPECT_EQ(name(InstructionSet::avx2, true), "f32 by FMA of AVX2");
    EXPECT_EQ(name(InstructionSet::avx512, true), "f32 by FMA of AVX-512");
    EXPECT_EQ(name(InstructionSet::avx512_bf16, true), "bf16 by pairs of AVX-512");
    EXPECT_EQ(name(InstructionSet::amx, true), "bf16 by tiles of AMX");
    EXPECT_EQ(name(InstructionSet::amx, false), "f32 by FMA of AVX-512");
#elif defined(__aarch64__)
    EXPECT_EQ(name(InstructionSet::neon, false), "f32 by FMA of NEON");
    EXPECT_EQ(name(InstructionSet::neon, true), "f32 by FMA of NEON");
#endif
}

TEST(Arithmetic, OfAllSetsThatAreHereCountsOperations) {
#if defined(__aarch64__)
    GTEST_SKIP() << "takes minutes under an emulator";
#endif
    for (const InstructionSet set : {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512,
                                     InstructionSet::avx512_bf16, InstructionSet::amx})
        for (const bool bf16 : {false, true}) {
            if (!may_use(set)) continue;
            float meaningless = 0;
            EXPECT_GT(arithmetic_of(set, bf16).run(0.5f, &meaningless), 1e9) << arithmetic_of(set, bf16).name;
            EXPECT_NE(meaningless, 0.0f);
        }
}

}  // namespace
}  // namespace iwseg::cpu
