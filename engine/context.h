#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/kernel_table.h"
#include "kernels/thread_count.h"
#include "kernels/thread_pool.h"

namespace iwseg {

struct ContextOptions {
    std::string device = "auto";  ///< auto, cpu or cuda
    int threads = 0;              ///< that compute; 0: as count_threads of kernels/thread_count.h has it
    bool deterministic = true;
    bool tf32 = false;           ///< on a GPU: convolutions of f32 may round their operands to 10 bits of fraction
    /// On a GPU: where the plans of convolutions chosen for a run are kept, so that it goes on with them; empty: nowhere.
    std::string plan_file = {};
    /// A plan's steps as one CUDA graph; false queues them one by one and waits for each, so that a failure names its
    /// step, for debugging.
    bool record = true;
};

/// The device work runs on and how. Made once, passed first everywhere; there are no globals behind it: its threads are
/// its own, whatever other contexts and OpenMP have.
/// One thread at a time uses it and what is made on it (plans, sessions, predictors); that need not be the one that
/// made it. Two contexts may be used by two threads at once on the CPU; on a GPU they share cuDNN's plans
/// (kernels/cudnn_session.h), and one thread at a time uses any of them.
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
    /// Where the CPU's kernels run on the context's threads, whatever its device; the same as stream() on the CPU.
    Stream host() { return pool_.stream(); }
    int threads() const { return pool_.threads(); }
    bool deterministic() const { return deterministic_; }
    bool tf32() const { return tf32_; }
    const std::string& plan_file() const { return plan_file_; }
    bool records() const { return records_; }
    /// One line for people: what computes, and on how many threads and why so many; on the CPU of a machine with an NVIDIA
    /// card also why that is not used.
    std::string description() const;

  private:
    const Kernels* kernels_;
    ThreadCount threads_;
    mutable ThreadPool pool_;  ///< its threads start when they are first asked for
    bool deterministic_ = true, tf32_ = false, records_ = true, chosen_for_lack_of_gpu_ = false;
    std::string plan_file_;
    Stream stream_;
};

}  // namespace iwseg
