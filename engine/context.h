#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/kernel_table.h"

namespace iwseg {

enum class Device { cpu, cuda };

struct ContextOptions {
    std::string device = "auto";  ///< auto, cpu or cuda
    int threads = 0;              ///< 0: as many as the processor has cores, or OMP_NUM_THREADS
    bool deterministic = true;
};

/// The device work runs on and how. Made once, passed first everywhere; there are no globals behind it.
/// Throws InputError in one sentence where the device is unknown or absent.
class Context {
  public:
    explicit Context(const ContextOptions& options = {});

    Device device() const { return device_; }
    Stream stream() const { return stream_; }
    /// The device's kernels.
    const Kernels& kernels() const { return *kernels_; }
    int threads() const { return threads_; }
    bool deterministic() const { return deterministic_; }
    /// One line for people: processor, instruction set, threads.
    std::string description() const;

  private:
    Device device_ = Device::cpu;
    Stream stream_;
    const Kernels* kernels_ = nullptr;
    int threads_ = 1;
    bool deterministic_ = true;
};

}  // namespace iwseg
