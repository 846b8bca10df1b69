#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "kernels/device/declare.h"

namespace iwseg {

/// The threads that compute: the calling one and `threads - 1` of the pool's own, which start with the first loop. They
/// belong to nobody else: an OpenMP runtime in the same process, its settings and its threads are left alone.
///
/// Made for a processor that has other work too. A loop is cut into parts, which a thread takes from its own share and
/// then from the others', so that whoever is on a core does the work of those who are not; no thread is waited for
/// unless it is within a part. Waiting threads look for work for some tens of microseconds, which bridges the time
/// between two loops of a training step, and then sleep.
///
/// Which thread does a part is open, so what a part computes must not depend on it; sums over parts are added up by
/// the caller, in the parts' order. Loops may be run from several threads and from within a part: whoever finds the
/// pool at work runs the loop alone. A process forked from this one may go on using the pool, alone.
class ThreadPool {
  public:
    /// threads: counting the one that calls; 1 to kMostThreads, else std::invalid_argument.
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return threads_; }
    /// How many of them there are, which may be fewer where the machine gives no more: starts them.
    int threads_there();
    /// What the CPU's kernels are called with, to compute on these threads.
    Stream stream() { return {this}; }

    /// Calls body(part) for each part from 0 up to `parts`, at most kMostParts. Returns when all are done. Throws what
    /// the first body to throw threw; parts not begun by then are left out.
    template <class Body>
    void run(std::int64_t parts, Body&& body) {
        run(Work::of(body), parts);
    }

    /// Calls body(thread) for each thread from 0 up to `count`, all at once, each on a thread of its own: they may wait
    /// for each other. False, with nothing called, where the pool has not so many threads or they are at work.
    template <class Body>
    bool run_together(int count, Body&& body) {
        return run_together(Work::of(body), count);
    }

    static constexpr std::int64_t kMostParts = 32767;

  private:
    /// A body that is called with the number of a part; it outlives the loop.
    struct Work {
        void* body = nullptr;
        void (*call)(void* body, std::int64_t part) = nullptr;

        template <class Body>
        static Work of(Body& body) {
            using Plain = std::remove_const_t<Body>;
            return {const_cast<Plain*>(&body), [](void* of, std::int64_t part) { (*static_cast<Plain*>(of))(part); }};
        }
    };
    /// A thread's share of the parts: which loop it is of, the next part to take, and the end, in one word, so that a
    /// thread that comes late takes nothing of a loop that is over (Share::pack).
    struct alignas(64) Share {
        std::atomic<std::uint64_t> word = 0;

        static std::uint64_t pack(std::uint32_t loop, bool own_only, std::int64_t next, std::int64_t end);
        /// The part taken, or -1.
        std::int64_t take(std::uint32_t loop, bool own);
    };

    void run(Work work, std::int64_t parts);
    bool run_together(Work work, int count);
    void run_alone(Work work, std::int64_t parts);
    void start();
    int started() const;  ///< threads of this process, its caller's too
    void run_shared(Work work, std::int64_t parts, bool own_only);
    void take_parts(std::size_t self, std::uint32_t loop);
    void run_part(std::int64_t part);
    void serve(std::size_t self);

    const int threads_;
    std::int64_t process_ = 0;  ///< that the others were started in
    std::vector<std::thread> others_;
    std::unique_ptr<Share[]> shares_;

    std::atomic<bool> busy_ = false;  ///< a loop is being run, by one thread alone
    std::atomic<bool> stop_ = false;
    Work work_;                 ///< of the loop that is being run
    std::exception_ptr error_;  ///< of the part that set failed_
    std::atomic<bool> failed_ = false;
    alignas(64) std::atomic<std::uint32_t> loop_ = 0;        ///< counts loops; threads sleep on it
    alignas(64) std::atomic<std::uint32_t> unfinished_ = 0;  ///< parts of this loop; its caller sleeps on it
};

}  // namespace iwseg
