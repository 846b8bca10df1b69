#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "data/sampling.h"

namespace iwseg {

/// Prepares batches ahead of the training step on worker threads. Batches come in the order of steps, the same whatever
/// the number of workers.
class BatchLoader {
  public:
    /// Starts at first_step; the sampler must outlive the loader. At most two batches a worker wait ready.
    BatchLoader(const PatchSampler& sampler, std::uint64_t first_step, int workers);
    ~BatchLoader();
    BatchLoader(const BatchLoader&) = delete;
    BatchLoader& operator=(const BatchLoader&) = delete;

    /// The next step's batch, valid until the next call. Throws what its worker threw.
    const Batch& next();
    /// How long the last next() waited.
    double seconds_waited() const { return seconds_waited_; }

  private:
    struct Slot {
        Batch batch;
        bool ready = false;
        std::exception_ptr error;
    };
    void work();

    const PatchSampler& sampler_;
    std::vector<Slot> slots_;
    std::uint64_t claim_, take_;  ///< the next step to be prepared, the next to be handed out
    bool held_ = false, stop_ = false;
    double seconds_waited_ = 0.0;
    std::mutex mutex_;
    std::condition_variable room_, arrival_;
    std::vector<std::thread> workers_;
};

}  // namespace iwseg
