#include "engine/context.h"

#include "kernels/error.h"
#include "kernels/nvidia_card.h"

namespace iwseg {
namespace {

const Kernels& backend(const std::string& device) {
    if (device == "cuda") return cuda::kernels();
    if (device == "cpu") return cpu::kernels();
    if (device == "auto") return cuda::available() ? cuda::kernels() : cpu::kernels();
    throw InputError("unknown device " + device + ": expected auto, cpu or cuda");
}

}  // namespace

Context::Context(const ContextOptions& options) : Context(backend(options.device), options) {
    chosen_for_lack_of_gpu_ = options.device == "auto" && kernels_->host_memory;
}

Context::Context(const Kernels& kernels, const ContextOptions& options)
    : kernels_(&kernels),
      threads_(count_threads(options.threads)),
      pool_(threads_.threads),
      deterministic_(options.deterministic),
      tf32_(options.tf32),
      records_(options.record),
      plan_file_(options.plan_file),
      stream_(kernels.open_stream(&pool_)) {}

Context::~Context() { kernels_->close_stream(stream_); }

std::string Context::description() const {
    const std::string device = kernels_->device_description();
    if (!kernels_->host_memory) return device;
    const int there = pool_.threads_there();
    const std::string unused = chosen_for_lack_of_gpu_ ? unused_card_text(cuda::why_unavailable()) : "";
    return device + ", " + threads_.text() +
           (there < threads_.threads ? ", of which the machine gives " + std::to_string(there) : "") + unused;
}

}  // namespace iwseg
