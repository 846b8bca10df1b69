#include "kernels/convolution/onednn/onednn.h"
#include "kernels/device/build_facts.h"

// Without oneDNN every convolution is by our own kernels (engines_cpu.cpp).
namespace iwseg::cpu {

bool has_onednn() {
    return false;
}

bool convolutions_use(InstructionSet wanted) {
    return may_use(wanted);
}

std::unique_ptr<Convolution> make_onednn_convolution(Stream, const ConvolutionOptions&, ConvolutionPasses, bool) {
    return nullptr;
}

std::string onednn_version() {
    return "not part of this build: convolutions are by iwseg's own kernels";
}

}  // namespace iwseg::cpu
