#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace iwseg::simt::executor {

/// What a thread of a block had done, or waited for, when it fenced: of its block everything before the barrier, of its
/// warp everything up to a step of each lane.
struct Fence {
    std::uint32_t run;  ///< the block
    std::uint16_t barrier, warp;
    std::array<std::uint16_t, 32> steps;
};

/// Order between blocks, as CUDA's memory model has it: what lies before a __threadfence, after which a thread writes a
/// place by an atomic or relaxed_store, comes before what follows a __threadfence of another thread that has read the
/// place by an atomic or relaxed_load since; barriers pass it on within a block.
class Fences {
  public:
    void begin_launch(std::size_t threads);
    void begin_block();
    void barrier();
    /// The thread fences; `own` is what it knows of its block.
    void fence(int thread, const Fence& own);
    /// The thread reads or writes the place by an atomic or relaxed access.
    void strong(int thread, std::uintptr_t at, bool write);

    bool empty() const { return all_.empty(); }
    /// True where the thread knows of a fence for which holds(fence).
    template <class Holds>
    bool knows(int thread, Holds&& holds) const {
        if (all_.empty()) return false;
        for (const Indices* some : {&of_block_, &threads_[static_cast<std::size_t>(thread)].known})
            for (const std::uint32_t i : *some)
                if (holds(all_[i])) return true;
        return false;
    }

  private:
    using Indices = std::vector<std::uint32_t>;  ///< into all_, ascending
    struct OfThread {
        Indices known;   ///< ordered before what the thread does now
        Indices read;    ///< seen, and known once the thread fences
        Indices fenced;  ///< what its last fence passes on
    };
    static void join(Indices& to, const Indices& more);

    std::vector<Fence> all_;
    std::vector<OfThread> threads_;
    std::vector<int> touched_;  ///< threads of this block that have any of it
    Indices of_block_;
    std::unordered_map<std::uintptr_t, Indices> at_;
};

}  // namespace iwseg::simt::executor
