#include "engine/context.h"

#include "base/error.h"
#include "kernels/device/backend.h"
#include "kernels/device/nvidia_card.h"

namespace iwseg {
namespace {

const Backend& backend_of(const std::string& device) {
    if (device == "cuda") return cuda::backend();
    if (device == "cpu") return cpu::backend();
    if (device == "auto") return cuda::available() ? cuda::backend() : cpu::backend();
    throw InputError("unknown device " + device + ": expected auto, cpu or cuda");
}

}  // namespace

Context::Context(const ContextOptions& options) : Context(backend_of(options.device), options) {}

Context::Context(const Backend& backend, const ContextOptions& options)
    : state_(std::make_shared<State>(backend, options)) {}

Context::State::State(const Backend& device, const ContextOptions& chosen)
    : backend(&device),
      options(chosen),
      threads(count_threads(chosen.threads)),
      pool(threads.threads),
      stream(device.open_stream(&pool)) {}

Context::State::~State() {
    backend->close_stream(stream);
}

std::string Context::description() const {
    std::string device = backend().device_description();
    if (!backend().host_memory) return device;
    const int there = state_->pool.threads_there(), asked_for = state_->threads.threads;
    // The executor and tests' tables are no choice for lack of a GPU.
    const bool chosen = state_->options.device == "auto" && state_->backend == &cpu::backend();
    return device + ", " + state_->threads.text() +
           (there < asked_for ? ", of which the machine gives " + std::to_string(there) : "") +
           (chosen ? unused_card_text(cuda::why_unavailable()) : "");
}

}  // namespace iwseg
