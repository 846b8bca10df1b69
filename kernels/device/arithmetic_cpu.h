#pragma once

#include "kernels/cpu/instruction_set.h"

/// What convolutions of the CPU are made of, by each instruction set: their floor.
namespace iwseg::cpu {

struct Arithmetic {
    const char* name;  ///< for people: "f32 by FMA of AVX2"
    /// Multiplies and adds as fast as a core can for some tenths of a second; returns the operations done. What is
    /// summed means nothing, and is added to *meaningless so that no compiler leaves the work out.
    double (*run)(float factor, float* meaningless);
};

/// The arithmetic of elements of f32 or bf16 by a set, which the processor must have. Where a set has none for bf16 it
/// is f32's: elements are widened.
Arithmetic arithmetic_of(InstructionSet set, bool bf16);

}  // namespace iwseg::cpu
