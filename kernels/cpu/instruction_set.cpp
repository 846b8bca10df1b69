#include "kernels/cpu/instruction_set.h"

#include <array>
#include <cstdlib>

#include "base/error.h"
#include "kernels/convolution/amx/tile_check.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace iwseg::cpu {
namespace {

struct Named {
    const char* key;
    const char* text;
};
constexpr std::array<Named, 6> kSets{{{"baseline", "baseline"},
                                      {"neon", "NEON"},
                                      {"avx2", "AVX2"},
                                      {"avx512", "AVX-512"},
                                      {"avx512_bf16", "AVX-512 with BF16"},
                                      {"amx", "AVX-512 with AMX"}}};

InstructionSet set_named(const std::string& key, bool arm) {
    for (std::size_t i = 0; i < kSets.size(); ++i) {
        const auto set = static_cast<InstructionSet>(i);
        const bool of_this = set == InstructionSet::baseline || (set == InstructionSet::neon) == arm;
        if (key == kSets[i].key && of_this) return set;
    }
    throw InputError("the environment's IWSEG_ISA is \"" + key + "\": expected " +
                     (arm ? "baseline or neon" : "baseline, avx2, avx512, avx512_bf16 or amx"));
}

#if defined(__x86_64__) && defined(__linux__)

/// State that the system saves of each thread, by bits of the processor's register XCR0.
unsigned saved_state() {
    unsigned low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/// Linux lets a process use tiles, whose 8 KB it must then save, only when asked (arch_prctl(2)).
bool ask_linux_for_tiles() {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

/// Bits and leaves: Intel's Architecture Instruction Set Extensions Programming Reference, chapters 1 and 3.
ProcessorFeatures this_processor() {
    ProcessorFeatures features;
    features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512cd");
    features.avx512_bf16 = features.avx512 && __builtin_cpu_supports("avx512bf16");
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return features;
    constexpr unsigned kTileBf16 = 1u << 22, kTile = 1u << 24;
    if ((d & kTileBf16) == 0 || (d & kTile) == 0) return features;
    // Palette 1: eight tiles of 16 rows of 64 bytes.
    if (!__get_cpuid_count(0x1D, 1, &a, &b, &c, &d)) return features;
    features.tiles = (a >> 16) >= 1024 && (b & 0xFFFFu) >= 64 && (b >> 16) >= 8 && (c & 0xFFFFu) >= 16;
    constexpr unsigned kSavesExtended = 1u << 27, kTileState = 3u << 17;
    __cpuid(1, a, b, c, d);
    features.system_keeps_tiles = (c & kSavesExtended) != 0 && (saved_state() & kTileState) == kTileState;
    features.ask_for_tiles = ask_linux_for_tiles;
    features.check_tiles = processor_tiles_are_right;
    return features;
}

#else

ProcessorFeatures this_processor() {
    ProcessorFeatures features;
#if defined(__aarch64__)
    features.neon = true;  // part of the architecture
#endif
    return features;
}

#endif

}  // namespace

InstructionChoice choose_instructions(const ProcessorFeatures& features, const char* allowed) {
    const InstructionSet most = allowed && *allowed ? set_named(allowed, features.neon) : InstructionSet::amx;
    InstructionSet has = features.avx512_bf16 ? InstructionSet::avx512_bf16
                         : features.avx512    ? InstructionSet::avx512
                         : features.avx2      ? InstructionSet::avx2
                         : features.neon      ? InstructionSet::neon
                                              : InstructionSet::baseline;
    std::string refused;
    if (features.tiles && has == InstructionSet::avx512_bf16 && most == InstructionSet::amx) {
        if (!features.system_keeps_tiles)
            refused = "AMX is not used: the system does not save its tiles";
        else if (!features.ask_for_tiles || !features.ask_for_tiles())
            refused = "AMX is not used: the system does not permit it";
        else if (!features.check_tiles || !features.check_tiles())
            refused = "AMX is not used: its products came out wrong";
        else
            has = InstructionSet::amx;
    }
    const bool capped = most < has || (most != InstructionSet::amx && features.tiles);
    InstructionChoice choice{most < has ? most : has, most != InstructionSet::amx || !refused.empty(), {}};
    choice.text = kSets[static_cast<std::size_t>(choice.set)].text;
    if (!refused.empty()) choice.text += " (" + refused + ")";
    if (capped) choice.text += std::string(" (no more is used: IWSEG_ISA is ") + allowed + ")";
    return choice;
}

const InstructionChoice& instructions() {
    static const InstructionChoice choice = choose_instructions(this_processor(), std::getenv("IWSEG_ISA"));
    return choice;
}

}  // namespace iwseg::cpu
