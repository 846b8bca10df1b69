#include "kernels/device/arithmetic_cpu.h"

#include <cstdint>

#include "kernels/convolution/amx/processor_products.h"
#include "kernels/cpu/vector_of.h"
#include "kernels/device/bf16.h"

// Each function is compiled for its own set and no other: what a processor has beyond it must not make its floor
// higher.
namespace iwseg::cpu {
namespace {

constexpr std::int64_t kRounds = 20'000'000;

/// kSums hide the latency and fit into registers.
template <int kLanes, int kSums>
[[gnu::always_inline]] inline double multiply_and_add(float factor, float* meaningless) {
    Vector<kLanes> sums[kSums] = {};
    for (int k = 0; k < kSums; ++k) sums[k] += factor * static_cast<float>(k);  // else they are all one to the compiler
    for (std::int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 24
        for (int k = 0; k < kSums; ++k) sums[k] = sums[k] * factor + factor;
    for (const auto& sum : sums) *meaningless += sum[0];
    return 2.0 * kSums * kLanes * kRounds;
}

#if defined(__aarch64__)
constexpr int kBaselineSums = 24;  // of 32 registers
#else
constexpr int kBaselineSums = 12;  // of 16, of which one holds the factor and one a product
#endif

double by_registers_of_four(float factor, float* meaningless) {
    return multiply_and_add<4, kBaselineSums>(factor, meaningless);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("arch=x86-64-v3"))) double by_registers_of_avx2(float factor, float* meaningless) {
    return multiply_and_add<8, 12>(factor, meaningless);
}

__attribute__((target("arch=x86-64-v4"))) double by_registers_of_avx512(float factor, float* meaningless) {
    return multiply_and_add<16, 16>(factor, meaningless);
}

__attribute__((target("arch=x86-64-v4"))) double by_pairs_of_bf16(float factor, float* meaningless) {
    constexpr int kSums = 16;
    using V = Vector<16>;
    V sums[kSums] = {};
    for (int k = 0; k < kSums; ++k) sums[k] += factor * static_cast<float>(k);
    const V factors = V{} + factor;
    for (std::int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 16
        for (int k = 0; k < kSums; ++k) {
            V sum = sums[k];  // a variable stays in a register, where the array's element would not
            asm("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(factors));
            sums[k] = sum;
        }
    for (const auto& sum : sums) *meaningless += sum[0];
    return 4.0 * kSums * 16 * kRounds;
}

double by_tiles(float factor, float* meaningless) {
    const TileProducts& products = processor_products();
    const TilesInUse tiles(products);
    Bf16 operand[kTileBytes / sizeof(Bf16)];
    for (Bf16& element : operand) store(element, factor);
    float sums[4 * 256];
    const double operations = products.in_registers(kRounds / 4, operand, sums);
    *meaningless += sums[0];
    return operations;
}
#endif

}  // namespace

Arithmetic arithmetic_of(InstructionSet set, bool bf16) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (bf16 && set == InstructionSet::amx) return {"bf16 by tiles of AMX", by_tiles};
    if (bf16 && set == InstructionSet::avx512_bf16) return {"bf16 by pairs of AVX-512", by_pairs_of_bf16};
    if (set >= InstructionSet::avx512) return {"f32 by FMA of AVX-512", by_registers_of_avx512};
    if (set == InstructionSet::avx2) return {"f32 by FMA of AVX2", by_registers_of_avx2};
#else
    static_cast<void>(bf16);
    if (set == InstructionSet::neon) return {"f32 by FMA of NEON", by_registers_of_four};
#endif
    return {"f32 by vectors of four", by_registers_of_four};
}

}  // namespace iwseg::cpu
