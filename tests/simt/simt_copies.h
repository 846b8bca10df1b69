#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace iwseg::simt::executor {

/// The asynchronous copies to shared memory that a block's threads have begun. On a card one lands at any moment
/// between its beginning and the end of the wait for its group, and reads its source then. Here: as late as can be, or,
/// where land_some is called, at random before.
class AsyncCopies {
  public:
    static constexpr int kBytes = 16;  ///< of a copy

    /// 16 bytes: `bytes` of them from `from`, the others zeros.
    struct Copy {
        void* to;
        const void* from;
        int bytes;
        const void* site;  ///< in the kernel's code
        int group = 0;
    };

    /// For a new block of so many threads.
    void reset(std::size_t threads);
    void begin(int thread, Copy copy);
    /// What the thread has begun since the last call becomes a group.
    void commit(int thread);
    /// Lands the thread's groups but for the last `left`.
    void wait(int thread, int left);
    void land_some(std::mt19937_64& random);
    /// Of a thread, landed or not, that it has not waited for.
    bool leaves_unwaited(int thread) const;

  private:
    struct Queue {
        std::vector<Copy> copies;
        int groups = 0, waited = 0;  ///< committed; of these, waited for
        bool uncommitted = false;
    };
    std::vector<Queue> queues_;
    std::size_t under_way_ = 0;
};

}  // namespace iwseg::simt::executor
