#include "data/loader.h"

#include <algorithm>
#include <chrono>

namespace iwseg {

BatchLoader::BatchLoader(const PatchSampler& sampler, std::uint64_t first_step, int workers)
    : sampler_(sampler),
      slots_(static_cast<std::size_t>(2 * std::max(workers, 1))),
      claim_(first_step),
      take_(first_step) {
    for (int worker = 0; worker < std::max(workers, 1); ++worker) workers_.emplace_back([this] { work(); });
}

BatchLoader::~BatchLoader() {
    {
        const std::scoped_lock lock(mutex_);
        stop_ = true;
    }
    room_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void BatchLoader::work() {
    for (std::unique_lock lock(mutex_);;) {
        // The slot of the batch that is being used is free only once the next is asked for.
        room_.wait(lock, [this] { return stop_ || claim_ < take_ - (held_ ? 1 : 0) + slots_.size(); });
        if (stop_) return;
        const std::uint64_t step = claim_++;
        Slot& slot = slots_[step % slots_.size()];
        lock.unlock();
        std::exception_ptr error;
        try {
            sampler_.draw(step, slot.batch);
        } catch (...) {
            error = std::current_exception();
        }
        lock.lock();
        slot.error = error;
        slot.ready = true;
        arrival_.notify_one();
    }
}

const Batch& BatchLoader::next() {
    std::unique_lock lock(mutex_);
    if (held_) {
        slots_[(take_ - 1) % slots_.size()].ready = false;
        held_ = false;
        room_.notify_one();
    }
    Slot& slot = slots_[take_ % slots_.size()];
    const auto start = std::chrono::steady_clock::now();
    arrival_.wait(lock, [&] { return slot.ready; });
    seconds_waited_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (slot.error) std::rethrow_exception(slot.error);
    ++take_;
    held_ = true;
    return slot.batch;
}

}  // namespace iwseg
