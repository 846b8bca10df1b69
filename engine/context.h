#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/kernel_table.h"

namespace iwseg {

struct ContextOptions {
    std::string device = "auto";  ///< auto, cpu or cuda
    int threads = 0;              ///< 0: as many as the processor has cores, or OMP_NUM_THREADS
    bool deterministic = true;
    bool record = true;          ///< a plan's steps as one CUDA graph; false queues them one by one, for debugging
};

/// The device work runs on and how. Made once, passed first everywhere; there are no globals behind it.
/// Throws InputError in one sentence where the device is unknown or absent.
class Context {
  public:
    explicit Context(const ContextOptions& options = {});
    /// On a backend given by its kernels.
    Context(const Kernels& kernels, const ContextOptions& options);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    Stream stream() const { return stream_; }
    /// The device's kernels.
    const Kernels& kernels() const { return *kernels_; }
    int threads() const { return threads_; }
    bool deterministic() const { return deterministic_; }
    bool records() const { return records_; }
    /// One line for people: what computes, and on how many threads.
    std::string description() const { return kernels_->device_description(); }

  private:
    const Kernels* kernels_;
    int threads_ = 1;
    bool deterministic_ = true, records_ = true;
    Stream stream_;
};

}  // namespace iwseg
