#define IWSEG_SIMT
#include "tests/simt.h"

#include "kernels/convolution_direct.h"

// On the executor every convolution is a direct one: cuDNN has no source to run.
namespace iwseg::simt {

std::unique_ptr<Convolution> make_convolution(Stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
    return make_direct_convolution(options, passes);
}

Layout preferred_layout(std::int64_t) { return Layout::ndhwc; }

}  // namespace iwseg::simt
