#include "base/error.h"
#include "kernels/convolution/direct.h"
#include "kernels/convolution/narrow.h"
#include "kernels/device/kernel_table.h"

namespace iwseg::cuda {

bool available() {
    return false;
}

int device_count() {
    return 0;
}

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

std::unique_ptr<Convolution> make_narrow_convolution(const ConvolutionOptions&, ConvolutionPasses) {
    kernels();
    return nullptr;
}

void narrow_forward(Stream, View, const NarrowWeights&, const NarrowPrologue&, const NarrowEpilogue&, View, void*) {
    kernels();
}

void narrow_data_gradient(Stream, View, const NarrowWeights&, View, void*) {
    kernels();
}

void narrow_weight_gradient(Stream, View, const NarrowPrologue&, View, float*, void*) {
    kernels();
}

void narrow_statistics(Stream, const Shape&, const float*, float, BatchNormStatistics, RunningStatistics) {
    kernels();
}

}  // namespace iwseg::cuda
