#pragma once

#include <cstdint>

#include "kernels/thread_pool.h"

namespace iwseg::cpu {

/// What threads of one oneDNN primitive do: each its own part, or wait for each other within it, as where they sum up a
/// gradient of weights together.
enum class OneDnnWork : std::uint8_t { independent, together };

/// While it lives, what oneDNN is called for by this thread runs on these threads; null: on this thread alone.
/// Primitives are to be made and run with the same number of threads, which oneDNN divides their work by.
///
/// Debian's oneDNN computes by OpenMP, of which it calls six functions. Those are defined beside this class, in
/// onednn_threads.cpp, and found before the OpenMP runtime's where iwseg is part of the program or linked before the
/// runtime. They serve a thread that holds a OneDnnThreads and hand every other call on to the runtime, so neither its
/// settings nor its threads change for anybody else. Where they are not found first, oneDNN computes on the OpenMP
/// runtime's threads, as many as ours, and the number is set back after each call.
class OneDnnThreads {
  public:
    OneDnnThreads(ThreadPool* threads, OneDnnWork work);
    ~OneDnnThreads();
    OneDnnThreads(const OneDnnThreads&) = delete;
    OneDnnThreads& operator=(const OneDnnThreads&) = delete;

    ThreadPool* pool() const { return pool_; }
    int threads() const { return pool_ ? pool_->threads() : 1; }
    OneDnnWork work() const { return work_; }

    /// Whether oneDNN's calls reach the six functions here; else they reach the OpenMP runtime.
    static bool in_effect();

  private:
    ThreadPool* pool_;
    OneDnnWork work_;
    OneDnnThreads* outer_;
    int runtimes_ = 0;  ///< threads of the OpenMP runtime before, where it computes
};

}  // namespace iwseg::cpu
