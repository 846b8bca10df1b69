#include "kernels/cpu/thread_pool.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "kernels/cpu/short_slices.h"
#include "kernels/cpu/thread_count.h"

namespace iwseg {
namespace {

/// How long a thread looks for work before it sleeps: longer than the pauses between a step's loops, and little of the
/// milliseconds that a scheduler lets a thread run, which is what looking wastes where the processor is shared.
constexpr std::chrono::microseconds kSpin{100};

/// The pool whose part this thread is in.
thread_local const ThreadPool* inside = nullptr;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// Waits until done() or until kSpin is over; whether it is done.
template <class Done>
bool spin_until(Done&& done) {
    constexpr int kLooks = 32;  // between two looks at the clock
    const auto end = std::chrono::steady_clock::now() + kSpin;
    do {
        for (int look = 0; look < kLooks; ++look) {
            if (done()) return true;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return done();
}

/// Signals go to the threads of the program, not to ours.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace

// loop: 32 bits; only its owner takes from it: 1; end: 15; next: 16.
std::uint64_t ThreadPool::Share::pack(std::uint32_t loop, bool own_only, std::int64_t next, std::int64_t end) {
    return std::uint64_t{loop} << 32 | std::uint64_t{own_only} << 31 | static_cast<std::uint64_t>(end) << 16 |
           static_cast<std::uint64_t>(next);
}

std::int64_t ThreadPool::Share::take(std::uint32_t loop, bool own) {
    std::uint64_t now = word.load(std::memory_order_acquire);
    for (;;) {
        const auto next = static_cast<std::int64_t>(now & 0xFFFF), end = static_cast<std::int64_t>(now >> 16 & 0x7FFF);
        const bool own_only = (now >> 31 & 1) != 0;
        if (now >> 32 != loop || next >= end || (own_only && !own)) return -1;
        if (word.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return next;
    }
}

static_assert(kMostThreads <= ThreadPool::kMostParts);  // together, each thread has a part

ThreadPool::ThreadPool(int threads) : threads_(threads) {
    if (threads < 1 || threads > kMostThreads)
        throw std::invalid_argument("thread pool: expected 1 to " + std::to_string(kMostThreads) + " threads, not " +
                                    std::to_string(threads));
    shares_ = std::make_unique<Share[]>(static_cast<std::size_t>(threads));
    others_.reserve(static_cast<std::size_t>(threads - 1));
}

ThreadPool::~ThreadPool() {
    if (others_.empty()) return;
    if (process_ != ::getpid()) {  // forked: the threads are the parent's
        for (std::thread& thread : others_) thread.detach();
        return;
    }
    stop_.store(true, std::memory_order_relaxed);
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
    for (std::thread& thread : others_) thread.join();
}

void ThreadPool::start() {
    if (process_ != 0) return;
    process_ = ::getpid();
    const SignalsBlocked blocked;
    try {
        for (std::size_t self = 1; self < static_cast<std::size_t>(threads_); ++self)
            others_.emplace_back([this, self] { serve(self); });
    } catch (const std::system_error&) {
        // The machine gives no more: the shares of those that are missing are done by the others.
    } catch (const std::bad_alloc&) {
        // No memory for one more: likewise.
    }
}

int ThreadPool::started() const {
    return process_ == static_cast<std::int64_t>(::getpid()) ? static_cast<int>(others_.size()) + 1 : 1;
}

int ThreadPool::threads_there() {
    if (threads_ == 1) return 1;
    if (inside == this) return started();  // by the loop that this is within
    while (busy_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    start();
    const int there = started();
    busy_.store(false, std::memory_order_release);
    return there;
}

void ThreadPool::run(Work work, std::int64_t parts) {
    if (parts > kMostParts)
        throw std::invalid_argument("thread pool: expected at most " + std::to_string(kMostParts) + " parts, not " +
                                    std::to_string(parts));
    if (parts <= 1 || threads_ == 1 || inside == this || busy_.exchange(true, std::memory_order_acquire))
        return run_alone(work, parts);
    start();
    run_shared(work, parts, false);
}

bool ThreadPool::run_together(Work work, int count) {
    if (count < 1 || count > threads_ || inside == this || busy_.exchange(true, std::memory_order_acquire))
        return false;
    start();
    const bool all_there = count <= started();
    if (!all_there) {
        busy_.store(false, std::memory_order_release);
        return false;
    }
    run_shared(work, count, true);
    return true;
}

void ThreadPool::run_alone(Work work, std::int64_t parts) {
    for (std::int64_t part = 0; part < parts; ++part) work.call(work.body, part);
}

/// With busy_ held, which it gives back.
void ThreadPool::run_shared(Work work, std::int64_t parts, bool own_only) {
    work_ = work;
    failed_.store(false, std::memory_order_relaxed);
    unfinished_.store(static_cast<std::uint32_t>(parts), std::memory_order_relaxed);
    const std::uint32_t loop = loop_.load(std::memory_order_relaxed) + 1;
    // Together, thread t has part t; else parts are shared out evenly.
    const std::int64_t shares = own_only ? parts : threads_;
    for (std::int64_t t = 0; t < threads_; ++t)
        shares_[static_cast<std::size_t>(t)].word.store(
            t < shares ? Share::pack(loop, own_only, t * parts / shares, (t + 1) * parts / shares) : 0,
            std::memory_order_release);
    loop_.store(loop, std::memory_order_release);
    loop_.notify_all();
    take_parts(0, loop);
    if (!spin_until([&] { return unfinished_.load(std::memory_order_acquire) == 0; }))
        for (std::uint32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;)
            unfinished_.wait(left, std::memory_order_acquire);
    std::exception_ptr error;
    if (failed_.load(std::memory_order_relaxed)) error = std::exchange(error_, nullptr);
    busy_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
}

void ThreadPool::take_parts(std::size_t self, std::uint32_t loop) {
    const auto threads = static_cast<std::size_t>(threads_);
    const ThreadPool* const outside = std::exchange(inside, this);
    for (std::size_t k = 0; k < threads; ++k)
        for (std::int64_t part; (part = shares_[(self + k) % threads].take(loop, k == 0)) >= 0;) run_part(part);
    inside = outside;
}

/// A part that was taken keeps its loop from ending, so what belongs to the loop is read only from here on.
void ThreadPool::run_part(std::int64_t part) {
    if (!failed_.load(std::memory_order_relaxed)) {
        try {
            work_.call(work_.body, part);
        } catch (...) {
            if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
        }
    }
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_all();
}

void ThreadPool::serve(std::size_t self) {
    ask_for_short_slices();
    for (std::uint32_t seen = 0;;) {
        const auto changed = [&] { return loop_.load(std::memory_order_acquire) != seen; };
        if (!spin_until(changed)) loop_.wait(seen, std::memory_order_acquire);
        seen = loop_.load(std::memory_order_acquire);
        if (stop_.load(std::memory_order_relaxed)) return;
        take_parts(self, seen);
    }
}

}  // namespace iwseg
