#pragma once

#include <cstdint>
#include <string>

/// Which instructions the CPU's kernels may use: what processor and system have, and of that no more than the
/// environment's IWSEG_ISA (baseline, avx2, avx512, avx512_bf16 or amx; on ARM baseline or neon) allows. Loops that are
/// compiled several times over (vector_clones.h) are not held to it: the program's start picks theirs.
namespace iwseg::cpu {

/// Each with all of those before it, but for neon, which ARM has and nobody else: there it is the widest.
enum class InstructionSet : std::uint8_t { baseline, neon, avx2, avx512, avx512_bf16, amx };

/// What a processor says of itself, and the system of it.
struct ProcessorFeatures {
    bool avx2 = false, avx512 = false, avx512_bf16 = false;
    bool tiles = false;                 ///< multiplies bf16 tiles of 16 rows of 64 bytes (AMX)
    bool system_keeps_tiles = false;    ///< saves them when threads change
    bool (*ask_for_tiles)() = nullptr;  ///< asks the system for leave to use them, which it may refuse
    bool (*check_tiles)() = nullptr;    ///< whether they compute what they should
    bool neon = false;                  ///< of ARM
};

struct InstructionChoice {
    InstructionSet set = InstructionSet::baseline;
    bool limited = false;  ///< no more than this may be used by anybody: by the environment, or as AMX was refused
    std::string text;      ///< for people: "AVX-512 with BF16 (AMX is not used: the system does not permit it)"
};

/// allowed: IWSEG_ISA; null or empty: any. Throws InputError where it names no instruction set. Asks for tiles only
/// where nothing else stands in their way.
InstructionChoice choose_instructions(const ProcessorFeatures& features, const char* allowed);

/// The choice for this process, made once. Throws as choose_instructions does.
const InstructionChoice& instructions();

inline bool may_use(InstructionSet wanted) {
    return instructions().set >= wanted;
}

}  // namespace iwseg::cpu
