#include <array>
#include <dnnl.hpp>
#include <utility>

#include "kernels/convolution/onednn/onednn_instructions.h"
#include "kernels/device/build_facts.h"

namespace iwseg::cpu {

std::string onednn_version() {
    const dnnl_version_t& version = *dnnl::version();
    const std::string number =
        std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.patch);
    // From the widest; a set of instructions holds the bits of those below it.
    constexpr std::array<std::pair<dnnl::cpu_isa, const char*>, 7> sets{
        {{dnnl::cpu_isa::avx512_core_amx, "AVX-512 with AMX"},
         {dnnl::cpu_isa::avx512_core_bf16, "AVX-512 with BF16"},
         {dnnl::cpu_isa::avx512_core_vnni, "AVX-512 with VNNI"},
         {dnnl::cpu_isa::avx512_core, "AVX-512"},
         {dnnl::cpu_isa::avx2, "AVX2"},
         {dnnl::cpu_isa::avx, "AVX"},
         {dnnl::cpu_isa::sse41, "SSE4.1"}}};
    const auto has = static_cast<unsigned>(onednn_instructions());
    for (const auto& [isa, instructions] : sets)
        if (const auto wanted = static_cast<unsigned>(isa); (has & wanted) == wanted)
            return number + ", up to " + instructions;
    return number;
}

}  // namespace iwseg::cpu
