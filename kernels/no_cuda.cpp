#include "kernels/convolution_direct.h"
#include "kernels/error.h"
#include "kernels/kernel_table.h"

namespace iwseg::cuda {

bool available() { return false; }

std::string why_unavailable() {
    return "this build of iwseg computes on the CPU only";
}

const Kernels& kernels() {
    throw InputError("device cuda is not available: " + why_unavailable() + "; use --device cpu");
}

std::unique_ptr<Convolution> make_direct_convolution(const ConvolutionOptions&, ConvolutionPasses) {
    kernels();  // throws
    return nullptr;
}

}  // namespace iwseg::cuda
