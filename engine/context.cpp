#include "engine/context.h"

#include "base/error.h"
#include "kernels/device/nvidia_card.h"

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
    : state_(std::make_shared<State>(kernels, options)) {}

Context::State::State(const Kernels& kernel_table, const ContextOptions& chosen)
    : kernels(&kernel_table),
      options(chosen),
      threads(count_threads(chosen.threads)),
      pool(threads.threads),
      stream(kernel_table.open_stream(&pool)) {}

Context::State::~State() {
    kernels->close_stream(stream);
}

std::string Context::description() const {
    std::string device = kernels().device_description();
    if (!kernels().host_memory) return device;
    const int there = state_->pool.threads_there(), asked_for = state_->threads.threads;
    // The executor and tests' tables are no choice for lack of a GPU.
    const bool chosen = state_->options.device == "auto" && state_->kernels == &cpu::kernels();
    return device + ", " + state_->threads.text() +
           (there < asked_for ? ", of which the machine gives " + std::to_string(there) : "") +
           (chosen ? unused_card_text(cuda::why_unavailable()) : "");
}

}  // namespace iwseg
