#include "engine/context.h"

#include <omp.h>

#include "kernels/error.h"

namespace iwseg {
namespace {

const Kernels& backend(const std::string& device) {
    if (device == "cuda") return cuda::kernels();
    if (device == "cpu") return cpu::kernels();
    if (device == "auto") return cuda::available() ? cuda::kernels() : cpu::kernels();
    throw InputError("unknown device " + device + ": expected auto, cpu or cuda");
}

}  // namespace

Context::Context(const ContextOptions& options) : Context(backend(options.device), options) {}

Context::Context(const Kernels& kernels, const ContextOptions& options)
    : kernels_(&kernels), deterministic_(options.deterministic), records_(options.record) {
    threads_ = options.threads > 0 ? options.threads : omp_get_max_threads();
    omp_set_num_threads(threads_);
    stream_ = kernels.open_stream();
}

Context::~Context() { kernels_->close_stream(stream_); }

}  // namespace iwseg
