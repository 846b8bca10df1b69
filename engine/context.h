#pragma once

#include <memory>
#include <string>

#include "kernels/cpu/thread_count.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/device/declare.h"

namespace iwseg {

struct Backend;

struct ContextOptions {
    std::string device = "auto";  ///< auto, cpu or cuda
    int threads = 0;              ///< that compute; 0: as count_threads of kernels/cpu/thread_count.h has it
    bool deterministic = true;
    bool tf32 = false;  ///< on a GPU: convolutions of f32 may round their operands to 10 bits of fraction
    /// On a GPU: where the plans of convolutions chosen for a run are kept, so that it goes on with them; empty:
    /// nowhere.
    std::string plan_file = {};
    /// A plan's steps as one CUDA graph; false queues them one by one and waits for each, so that a failure names its
    /// step, for debugging.
    bool record = true;
};

/// The device work runs on and how. Made once, passed first everywhere; there are no globals behind it: its threads are
/// its own, whatever other contexts and OpenMP have.
/// One thread at a time uses it and what is made on it (plans, sessions, predictors); that need not be the one that
/// made it. Two contexts may be used by two threads at once on the CPU; on a GPU they share cuDNN's plans
/// (kernels/convolution/cudnn/session.h), and one thread at a time uses any of them.
/// A copy is a handle of the same threads and stream, which live as long as a handle or a plan made on them.
/// Throws InputError in one sentence where the device is unknown or absent.
class Context {
  public:
    explicit Context(const ContextOptions& options = {});
    /// On a backend that must outlive the context and all that is made on it.
    Context(const Backend& backend, const ContextOptions& options);

    Stream stream() const { return state_->stream; }
    /// The device's kernels (kernels/device/backend.h).
    const Backend& backend() const { return *state_->backend; }
    /// Where the CPU's kernels run on the context's threads, whatever its device; the same as stream() on the CPU.
    Stream host() const { return state_->pool.stream(); }
    int threads() const { return state_->pool.threads(); }
    bool deterministic() const { return state_->options.deterministic; }
    bool tf32() const { return state_->options.tf32; }
    const std::string& plan_file() const { return state_->options.plan_file; }
    bool records() const { return state_->options.record; }
    /// One line for people: what computes, and on how many threads and why so many; on the CPU of a machine with an
    /// NVIDIA card also why that is not used.
    std::string description() const;

  private:
    struct State {
        State(const Backend& backend, const ContextOptions& options);
        ~State();
        State(const State&) = delete;
        State& operator=(const State&) = delete;

        const Backend* backend;
        ContextOptions options;
        ThreadCount threads;
        ThreadPool pool;  ///< its threads start when they are first asked for
        Stream stream;
    };

    std::shared_ptr<State> state_;
};

}  // namespace iwseg
