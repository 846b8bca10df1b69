// The SIMT executor: how the threads of a block take turns.
#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/simt/simt_copies.h"
#include "tests/simt/simt_fiber.h"
#include "tests/simt/simt_hooks.h"
#include "tests/simt/simt_shared.h"

namespace iwseg::simt::executor {

Thread* current = nullptr;

namespace {

enum class State : unsigned char { ready, at_barrier, in_warp, done };

struct Lane {
    Thread thread;
    State state = State::ready;
    Fiber* fiber = nullptr;  ///< null before it starts
    CallSite site;
    WarpOperation operation{};
    unsigned mask = 0;
    std::uint64_t value = 0, result = 0;
    int source = 0;
    Collective compute = nullptr;  ///< of a collective, with the lane's argument
    void* argument = nullptr;
};

Schedule schedule;
LaunchCount counted;
SharedMemory shared;

std::string place(const CallSite& site) {
    const std::string file = site.file;
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(site.line);
}

/// Fibers, kept from launch to launch: mapping their stacks anew took longer than most kernels.
struct FiberPool {
    std::vector<std::unique_ptr<Fiber>> all;
    std::vector<Fiber*> idle;
};
FiberPool pool;

class Block {
  public:
    Block(dim3 grid, dim3 block, const std::function<void()>& work, std::mt19937_64& random)
        : work_(work), random_(random), lanes_(std::size_t{block.x} * block.y * block.z) {
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            Thread& thread = lanes_[i].thread;
            thread.number = static_cast<int>(i);
            thread.block_size = block;
            thread.grid_size = grid;
            thread.thread_index = {static_cast<unsigned>(i % block.x), static_cast<unsigned>(i / block.x % block.y),
                                   static_cast<unsigned>(i / block.x / block.y)};
        }
    }

    void run(dim3 block_index) {
        begin_block();
        ready_.clear();
        first_ready_ = 0;
        copies_.reset(lanes_.size());
        for (Lane& lane : lanes_) {
            lane.thread.block_index = block_index;
            lane.state = State::ready;
            lane.fiber = nullptr;
            ready_.push_back(lane.thread.number);
        }
        if (schedule.random) std::shuffle(ready_.begin(), ready_.end(), random_);
        for (;;) {
            while (first_ready_ < ready_.size()) turn(lanes_[static_cast<std::size_t>(next())]);
            if (failure_) std::rethrow_exception(failure_);
            if (!release_barrier()) break;
        }
        end_block();
        check_shared_memory();
        shared.clear();
    }

    void barrier(const CallSite& site) {
        Lane& lane = *lane_;
        lane.state = State::at_barrier;
        lane.site = site;
        suspend(lane);
    }

    std::uint64_t warp(WarpOperation operation, unsigned mask, std::uint64_t value, int source, const CallSite& site) {
        Lane& lane = *lane_;
        if (!(mask >> lane.thread.number % 32 & 1u)) fail("a lane that is not in its own mask called a warp intrinsic");
        lane.operation = operation;
        lane.mask = mask;
        lane.value = value;
        lane.source = source;
        meet(lane, site);
        return lane.result;
    }

    void collective(Collective compute, void* argument, const CallSite& site) {
        Lane& lane = *lane_;
        lane.operation = WarpOperation::collective;
        lane.mask = 0xFFFFFFFFu;
        lane.compute = compute;
        lane.argument = argument;
        meet(lane, site);
    }

    void begin_copy(void* to, const void* from, int bytes, const void* site) {
        require_shared(to, AsyncCopies::kBytes, "the destination of an asynchronous copy");
        if (bytes > 0 && reinterpret_cast<std::uintptr_t>(from) % AsyncCopies::kBytes != 0)
            fail("the source of an asynchronous copy is not aligned to 16 bytes");
        if (bytes > 0) note_access({reinterpret_cast<std::uintptr_t>(from), 16, false, Strength::plain, site});
        note_access({reinterpret_cast<std::uintptr_t>(to), 16, true, Strength::plain, site});
        copies_.begin(lane_->thread.number, {to, from, bytes, site});
        may_switch();
    }
    void commit_copies() { copies_.commit(lane_->thread.number); }
    void wait_for_copies(int left) {
        may_switch();
        copies_.wait(lane_->thread.number, left);
        may_switch();
    }

    void require_shared(const void* address, std::size_t bytes, const char* what) const {
        const auto first = reinterpret_cast<std::uintptr_t>(address);
        if (first % bytes != 0) fail(std::string(what) + " is not aligned to " + std::to_string(bytes) + " bytes");
        if (!shared.contains(first, bytes)) fail(std::string(what) + " lies outside the block's shared memory");
    }

    void may_switch() {
        if (!schedule.random || random_() % 4 != 0) return;
        make_ready(*lane_);
        suspend(*lane_);
    }

    void* shared_memory(const void* key, std::size_t bytes) {
        void* array = shared.array(key, bytes);
        if (!array) fail("a block asks for " + std::to_string(shared.bytes()) + " bytes of shared memory, above 48 KB");
        return array;
    }

    /// Leaves the thread where it is: an exception cannot leave a hook, which g++ takes for a function that throws
    /// nothing.
    [[noreturn]] void stop(const std::string& what) {
        try {
            fail(what);
        } catch (...) {
            failure_ = std::current_exception();
        }
        for (;;) lane_->fiber->leave();
    }

    [[noreturn]] void fail(const std::string& what) const {
        const dim3& b = (lane_ ? *lane_ : lanes_[0]).thread.block_index;
        throw std::logic_error(what + " (block " + std::to_string(b.x) + ", " + std::to_string(b.y) + ", " +
                               std::to_string(b.z) + (lane_ ? ", thread " + std::to_string(lane_->thread.number) : "") +
                               ")");
    }

  private:
    int next() {
        if (schedule.random)
            std::swap(ready_[first_ready_], ready_[first_ready_ + random_() % (ready_.size() - first_ready_)]);
        return ready_[first_ready_++];
    }

    void make_ready(Lane& lane) {
        lane.state = State::ready;
        ready_.push_back(lane.thread.number);
    }

    /// Lets a thread run until it waits or ends. A fiber that ends its thread goes on with the next that has not
    /// started.
    void turn(Lane& lane) {
        if (failure_) return;
        if (schedule.random) copies_.land_some(random_);
        if (lane.fiber) {
            enter(lane);
            lane.fiber->resume();
        } else {
            if (pool.idle.empty()) {
                pool.all.push_back(std::make_unique<Fiber>());
                pool.idle.push_back(pool.all.back().get());
            }
            Fiber* fiber = pool.idle.back();
            pool.idle.pop_back();
            lane.fiber = fiber;
            enter(lane);
            fiber->start([this, fiber] { run_threads(fiber); });
        }
        lane_ = nullptr;
        ++counted.switches;
    }

    void enter(Lane& lane) {
        lane_ = &lane;
        current = &lane.thread;
    }

    void run_threads(Fiber* fiber) {
        for (;;) {
            try {
                work_();
                if (copies_.leaves_unwaited(lane_->thread.number))
                    fail("a thread ends without having waited for its copies");
            } catch (...) {
                failure_ = std::current_exception();
            }
            lane_->state = State::done;
            ++counted.threads;
            if (failure_ || first_ready_ == ready_.size()) break;
            const int number = next();
            Lane& lane = lanes_[static_cast<std::size_t>(number)];
            if (lane.fiber) {  // has a fiber of its own: leave it to the scheduler
                ready_.push_back(number);
                break;
            }
            lane.fiber = fiber;
            enter(lane);
        }
        pool.idle.push_back(fiber);
    }

    void suspend(Lane& lane) {
        lane.fiber->leave();
        enter(lane);
    }

    /// Waits for the other lanes of the mask; the last to come computes for all.
    void meet(Lane& lane, const CallSite& site) {
        lane.state = State::in_warp;
        lane.site = site;
        if (complete_warp(lane)) {
            if (!schedule.random) return;
            make_ready(lane);
        }
        suspend(lane);
    }

    /// True, with results, where all lanes of the mask have come to the same intrinsic.
    bool complete_warp(Lane& last) {
        const int first = last.thread.number / 32 * 32;
        const auto each = [&](auto&& body) {
            for (int l = 0; l < 32; ++l)
                if (last.mask >> l & 1u) body(l, lanes_[static_cast<std::size_t>(first + l)]);
        };
        if (first + static_cast<int>(std::bit_width(last.mask)) > static_cast<int>(lanes_.size()))
            fail("the mask of a warp intrinsic names lanes that the block does not have, at " + place(last.site));
        bool all = true;
        each([&](int, const Lane& lane) {
            if (lane.state == State::done)
                fail("a warp intrinsic waits for a lane that has ended, at " + place(last.site));
            if (lane.state != State::in_warp || lane.mask != last.mask) {
                all = false;
            } else if (lane.site.line != last.site.line || lane.operation != last.operation ||
                       lane.compute != last.compute) {
                fail("lanes of one mask wait at different warp intrinsics, " + place(lane.site) + " and " +
                     place(last.site));
            }
        });
        if (!all) return false;
        if (last.operation == WarpOperation::collective) {
            void* arguments[32];
            each([&](int l, const Lane& lane) { arguments[l] = lane.argument; });
            last.compute(arguments);
        } else {
            std::uint64_t votes = 0;
            each([&](int l, const Lane& lane) { votes |= (lane.value != 0 ? std::uint64_t{1} : 0) << l; });
            each([&](int, Lane& lane) {
                const bool inside = last.mask >> lane.source & 1u;
                lane.result = lane.operation == WarpOperation::ballot ? votes
                              : inside ? lanes_[static_cast<std::size_t>(first + lane.source)].value
                                       : lane.value;
            });
        }
        each([&](int, Lane& lane) {
            if (&lane != &last) make_ready(lane);
        });
        last.state = State::ready;
        if (last.operation == WarpOperation::synchronise) note_warp_barrier(first, last.mask);
        return true;
    }

    /// With nobody left to run: true where all threads wait at one barrier and go on; false where all have ended.
    bool release_barrier() {
        std::size_t waiting = 0, ended = 0;
        const Lane* one = nullptr;
        for (const Lane& lane : lanes_) {
            ended += lane.state == State::done;
            waiting += lane.state == State::at_barrier;
            if (lane.state == State::at_barrier) one = &lane;
        }
        if (ended == lanes_.size()) return false;
        if (waiting + ended < lanes_.size())
            for (const Lane& lane : lanes_)
                if (lane.state == State::in_warp)
                    fail("deadlock: " + std::to_string(lanes_.size() - waiting - ended) +
                         " threads wait at a warp intrinsic (" + place(lane.site) + "), " + std::to_string(waiting) +
                         " at a barrier, " + std::to_string(ended) + " have ended");
        if (ended > 0)
            fail("a barrier (" + place(one->site) + ") is reached by " + std::to_string(waiting) + " threads of " +
                 std::to_string(lanes_.size()) + ", the others have ended");
        for (const Lane& lane : lanes_)
            if (lane.site.line != one->site.line)
                fail("threads wait at different barriers, " + place(lane.site) + " and " + place(one->site));
        ready_.clear();
        first_ready_ = 0;
        note_barrier();
        for (Lane& lane : lanes_) make_ready(lane);
        return true;
    }

    void check_shared_memory() const {
        if (const std::size_t bytes = shared.overrun())
            fail("something wrote past a shared array of " + std::to_string(bytes) + " bytes");
    }

    const std::function<void()>& work_;
    std::mt19937_64& random_;
    std::vector<Lane> lanes_;
    std::vector<int> ready_;
    std::size_t first_ready_ = 0;
    AsyncCopies copies_;
    Lane* lane_ = nullptr;
    std::exception_ptr failure_;
};

Block* running = nullptr;

}  // namespace

void set_schedule(const Schedule& wanted) {
    schedule = wanted;
}
LaunchCount& launch_count() {
    return counted;
}
void barrier(const CallSite& site) {
    running->barrier(site);
}
std::uint64_t warp(WarpOperation operation, unsigned mask, std::uint64_t value, int source, const CallSite& site) {
    return running->warp(operation, mask, value, source, site);
}
void collective(Collective compute, void* argument, const CallSite& site) {
    running->collective(compute, argument, site);
}
void begin_copy(void* to, const void* from, int bytes) {
    running->begin_copy(to, from, bytes, __builtin_return_address(0));
}
void commit_copies() {
    running->commit_copies();
}
void wait_for_copies(int left) {
    running->wait_for_copies(left);
}
void fail(const std::string& what) {
    running->fail(what);
}
void require_shared(const void* address, std::size_t bytes, const char* what) {
    running->require_shared(address, bytes, what);
}
void may_switch() {
    running->may_switch();
}
void* shared_memory(const void* key, std::size_t bytes) {
    return running->shared_memory(key, bytes);
}
SharedMemory& shared_memory_of_block() {
    return shared;
}
void stop(const std::string& what) {
    running->stop(what);
}

void run(dim3 grid, dim3 block, const std::function<void()>& thread, const char* kernel, const void* code) {
    if (running) throw std::logic_error("a kernel is launched from within a kernel");
    const std::size_t threads = std::size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || grid.y > 65535 || grid.z > 65535)
        throw std::logic_error(std::string("a launch that no card takes: ") + kernel);
    ++counted.launches;
    std::mt19937_64 random(schedule.seed + static_cast<std::uint64_t>(counted.launches));
    std::vector<std::size_t> order(std::size_t{grid.x} * grid.y * grid.z);
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (schedule.random) std::shuffle(order.begin(), order.end(), random);
    begin_launch({code, {grid.x, grid.y, grid.z}, static_cast<unsigned>(threads), order.data()});
    Block one(grid, block, thread, random);
    running = &one;
    try {
        for (const std::size_t i : order)
            one.run({static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                     static_cast<unsigned>(i / grid.x / grid.y)});
    } catch (...) {
        running = nullptr;
        in_atomic = false;
        abandon_block();
        shared.clear();
        pool = {};  // threads that were put aside never end
        throw;
    }
    running = nullptr;
}

}  // namespace iwseg::simt::executor
