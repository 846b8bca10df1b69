#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cpu/thread_pool.h"

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
/// settings nor its threads change for anybody else. Where they are not found first, or the loaded oneDNN calls others
/// too (built by another compiler, or for another runtime than OpenMP), oneDNN computes on the OpenMP runtime's
/// threads, as many as ours, and the number is set back after each call.
class OneDnnThreads {
  public:
    OneDnnThreads(ThreadPool* threads, OneDnnWork work);
    ~OneDnnThreads();
    OneDnnThreads(const OneDnnThreads&) = delete;
    OneDnnThreads& operator=(const OneDnnThreads&) = delete;

    ThreadPool* pool() const { return pool_; }
    int threads() const { return pool_ ? pool_->threads() : 1; }
    OneDnnWork work() const { return work_; }

    /// Throws std::logic_error where threads of independent work waited for each other, which they cannot: to be called
    /// when the primitive is done.
    void require_independent() const;
    void note_barrier() { waited_.store(true, std::memory_order_relaxed); }

    /// Whether oneDNN's calls reach the six functions here, and it makes no others; else they reach the OpenMP runtime.
    static bool in_effect();

  private:
    ThreadPool* pool_;
    OneDnnWork work_;
    OneDnnThreads* outer_;
    std::atomic<bool> waited_ = false;
    int runtimes_ = 0;  ///< threads of the OpenMP runtime before, where it computes
};

/// Whether a library that imports these names begins its regions by GOMP_parallel and calls nothing else of an OpenMP
/// runtime than the six functions: so gcc compiles "omp parallel" without a loop. Compilers that call __kmpc_fork_call,
/// and gcc for "omp parallel for" (GOMP_parallel_loop_...), give their teams by other ways.
bool forks_by_gomp_parallel(const std::vector<std::string>& imported);

}  // namespace iwseg::cpu
