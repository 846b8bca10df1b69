#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include "kernels/convolution/direct.h"
#include "kernels/convolution/narrow.h"
#include "kernels/elementwise/linear_layer.h"

// On the executor every convolution and linear layer is one of ours, as cuDNN and cuBLASLt have no source to run: of
// convolutions those of few channels in bf16 the narrow ones, else direct ones.
namespace iwseg::simt {

std::unique_ptr<Convolution> make_convolution(Stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
    if (takes_narrow(options)) return make_narrow_convolution(options, passes);
    return make_direct_convolution(options, passes);
}

std::vector<ConvolutionEngine> convolution_engines(Stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    const ConvolutionPasses passes{pass == ConvolutionPass::data, pass == ConvolutionPass::weights};
    std::vector<ConvolutionEngine> engines;
    if (takes_narrow(options))
        engines.push_back({"narrow", "taken", [=] { return make_narrow_convolution(options, passes); }});
    engines.push_back(
        {"direct", engines.empty() ? "taken" : "", [=] { return make_direct_convolution(options, passes); }});
    return engines;
}

Layout preferred_layout(std::int64_t) {
    return Layout::ndhwc;
}

std::unique_ptr<LinearLayer> make_linear(Stream, const LinearForm&) {
    return nullptr;
}

}  // namespace iwseg::simt
