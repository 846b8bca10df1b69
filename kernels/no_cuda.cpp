#include "kernels/convolution_direct.h"
#include "kernels/error.h"
#include "kernels/kernel_table.h"

namespace iwseg::cuda {

bool available() { return false; }

const Kernels& kernels() {
    throw InputError("device cuda is not available: this build of iwseg computes on the CPU only; use --device cpu");
}

std::unique_ptr<Convolution> make_direct_convolution(const ConvolutionOptions&, ConvolutionPasses) {
    kernels();  // throws
    return nullptr;
}

}  // namespace iwseg::cuda
