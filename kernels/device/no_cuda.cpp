#include "base/error.h"
#include "kernels/convolution/direct.h"
#include "kernels/convolution/narrow.h"
#include "kernels/device/backend.h"

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

const Backend& backend() {
    throw InputError("device cuda is not available: " + why_unavailable() + "; use --device cpu");
}

std::unique_ptr<Convolution> make_direct_convolution(const ConvolutionOptions&, ConvolutionPasses) {
    backend();  // throws
    return nullptr;
}

std::unique_ptr<Convolution> make_narrow_convolution(const ConvolutionOptions&, ConvolutionPasses) {
    backend();
    return nullptr;
}

void narrow_forward(Stream, View, const NarrowWeights&, const NarrowPrologue&, const NarrowEpilogue&, View, void*) {
    backend();
}

void narrow_data_gradient(Stream, View, const NarrowWeights&, View, void*) {
    backend();
}

void narrow_weight_gradient(Stream, View, const NarrowPrologue&, View, float*, void*) {
    backend();
}

void narrow_statistics(Stream, const Shape&, const float*, float, BatchNormStatistics, RunningStatistics) {
    backend();
}

}  // namespace iwseg::cuda
