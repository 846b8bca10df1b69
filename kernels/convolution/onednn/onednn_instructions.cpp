#include "kernels/convolution/onednn/onednn_instructions.h"

#include "kernels/convolution/onednn/onednn.h"

namespace iwseg::cpu {
namespace {

dnnl::cpu_isa same_of_onednn(InstructionSet set) {
    switch (set) {
        case InstructionSet::baseline:
            return dnnl::cpu_isa::sse41;
        case InstructionSet::neon:
            return dnnl::cpu_isa::all;  // of ARM it has no limits
        case InstructionSet::avx2:
            return dnnl::cpu_isa::avx2;
        case InstructionSet::avx512:
            return dnnl::cpu_isa::avx512_core_vnni;
        case InstructionSet::avx512_bf16:
            return dnnl::cpu_isa::avx512_core_bf16;
        case InstructionSet::amx:
            return dnnl::cpu_isa::avx512_core_amx;
    }
    return dnnl::cpu_isa::all;
}

}  // namespace

dnnl::cpu_isa onednn_instructions() {
    static const dnnl::cpu_isa widest = [] {
        // Of a host that has used oneDNN before, it stays what it was; and only a limit is anybody's business but its
        // own.
        if (instructions().limited) static_cast<void>(dnnl::set_max_cpu_isa(same_of_onednn(instructions().set)));
        return dnnl::get_effective_cpu_isa();
    }();
    return widest;
}

bool convolutions_use(InstructionSet wanted) {
    const dnnl::cpu_isa least =
        wanted == InstructionSet::avx512 ? dnnl::cpu_isa::avx512_core : same_of_onednn(wanted);  // it knows VNNI apart
    const int isa = static_cast<int>(onednn_instructions()), all = static_cast<int>(least);
    return isa == 0 || (isa & all) == all;
}

}  // namespace iwseg::cpu
