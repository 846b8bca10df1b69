#include "kernels/convolution/operands.h"

#include "kernels/convolution/onednn/onednn.h"

namespace iwseg::cpu {

Type operand_type(const ConvolutionOptions& options) {
    if (options.src_type != Type::bf16) return Type::f32;
    // Emulated bf16 was measured at a third of the speed of f32 (oneDNN 2.6 on AVX-512 without its bf16 extension). Our
    // own kernels emulate none.
    const bool fast = convolutions_use(InstructionSet::avx512_bf16);
    const bool able = fast || (has_onednn() && convolutions_use(InstructionSet::avx512));
    const bool native =
        options.bf16_operands == Bf16Operands::native || (options.bf16_operands == Bf16Operands::fastest && fast);
    return native && able && options.dst_layout == Layout::blocked16 ? Type::bf16 : Type::f32;
}

Layout preferred_layout(std::int64_t narrowest) {
    if (convolutions_use(InstructionSet::avx512) && narrowest > 8) return Layout::blocked16;
    const bool eight = convolutions_use(InstructionSet::avx2) || instructions().set == InstructionSet::neon;
    return eight ? Layout::blocked8 : Layout::ncdhw;
}

}  // namespace iwseg::cpu
