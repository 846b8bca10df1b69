#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <chrono>
#include <ctime>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/thread_count.h"

namespace iwseg {
namespace {

/// Processor time that this process has taken so far, over all of its threads.
double processor_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void let_threads_fall_asleep() {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

TEST(ThreadPool, EveryPartIsDoneOnceByAnyNumberOfThreads) {
    std::mt19937 random(std::random_device{}());
    for (const int threads : {1, 2, 3, 8, 33}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.threads(), threads);
        for (int round = 0; round < 200; ++round) {
            const std::int64_t parts = round < 4 ? round : std::uniform_int_distribution<int>(1, 300)(random);
            std::vector<int> times(static_cast<std::size_t>(parts), 0);  // not atomic: a part is one thread's
            pool.run(parts, [&](std::int64_t part) { ++times[part]; });
            ASSERT_EQ(times, std::vector<int>(times.size(), 1)) << parts << " parts, " << threads << " threads";
        }
    }
}

TEST(ThreadPool, RangesCoverALoopOnce) {
    ThreadPool pool(3);
    for (const std::int64_t count : {0, 1, 2, 47, 48, 49, 100'003}) {
        std::vector<int> times(static_cast<std::size_t>(count), 0);
        cpu::parallel_for(pool.stream(), count, [&](std::int64_t i) { ++times[i]; });
        cpu::parallel_ranges({}, count, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i) ++times[i];
        });
        ASSERT_EQ(times, std::vector<int>(times.size(), 2)) << count;
    }
}

TEST(ThreadPool, AThreadThatIsLateLeavesItsPartsToTheOthers) {
    ThreadPool pool(2);
    std::atomic<int> done = 0;
    std::atomic<bool> all_but_one = false;
    // One part does not end before all others are: whoever has it, the other thread does the rest.
    pool.run(100, [&](std::int64_t part) {
        if (part == 7) {
            while (!all_but_one) std::this_thread::yield();
        } else if (++done == 99) {
            all_but_one = true;
        }
    });
    EXPECT_EQ(done, 99);
}

TEST(ThreadPool, AnExceptionOfAnyThreadReachesTheCaller) {
    ThreadPool pool(4);
    for (const std::int64_t bad : {0, 1, 63, 127}) {
        try {
            pool.run(128, [&](std::int64_t part) {
                if (part == bad) throw std::runtime_error("part " + std::to_string(part));
            });
            FAIL() << "nothing was thrown";
        } catch (const std::runtime_error& error) {
            EXPECT_EQ(error.what(), "part " + std::to_string(bad));
        }
        std::atomic<int> done = 0;
        pool.run(128, [&](std::int64_t) { ++done; });
        EXPECT_EQ(done, 128) << "the pool goes on after an exception";
    }
}

TEST(ThreadPool, LoopsWithinLoopsAreRunByTheThreadTheyAreIn) {
    ThreadPool pool(3);
    std::vector<std::int64_t> sums(50, 0);
    pool.run(50, [&](std::int64_t part) {
        pool.run(20, [&](std::int64_t inner) { sums[part] += part * inner; });  // not atomic
    });
    for (std::int64_t part = 0; part < 50; ++part) EXPECT_EQ(sums[part], part * 190);
}

TEST(ThreadPool, SeveralThreadsMayCallItAtATime) {
    ThreadPool pool(2);
    std::vector<std::int64_t> sums(4, 0);
    std::vector<std::thread> callers;
    for (std::int64_t& sum : sums)
        callers.emplace_back([&] {
            for (int round = 0; round < 500; ++round) {
                std::vector<std::int64_t> squares(40);
                pool.run(40, [&](std::int64_t part) { squares[part] = part * part; });
                sum += std::accumulate(squares.begin(), squares.end(), std::int64_t{0});
            }
        });
    for (std::thread& caller : callers) caller.join();
    for (const std::int64_t sum : sums) EXPECT_EQ(sum, 500 * 20540);
}

TEST(ThreadPool, TogetherEachPartHasAThreadOfItsOwn) {
    ThreadPool pool(4);
    for (int round = 0; round < 100; ++round) {
        std::barrier barrier(3);
        std::vector<std::thread::id> ids(3);
        ASSERT_TRUE(pool.run_together(3, [&](std::int64_t thread) {
            barrier.arrive_and_wait();  // would never end with two parts on one thread
            ids[thread] = std::this_thread::get_id();
        }));
        EXPECT_TRUE(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
    for (int round = 0; round < 100; ++round) {
        std::vector<std::thread::id> ids(4);
        ASSERT_TRUE(pool.run_together(4, [&](std::int64_t thread) { ids[thread] = std::this_thread::get_id(); }));
        EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 4u) << "though they do not wait";
    }
    EXPECT_FALSE(pool.run_together(5, [](std::int64_t) {})) << "it has not so many threads";
    pool.run(4, [&](std::int64_t) { EXPECT_FALSE(pool.run_together(2, [](std::int64_t) {})) << "they are at work"; });
}

TEST(ThreadPool, TheCallerIsWokenByTheLastPart) {
    ThreadPool pool(2);
    for (int round = 0; round < 3; ++round) {
        bool done = false;
        EXPECT_TRUE(pool.run_together(2, [&](std::int64_t thread) {
            if (thread == 0) return;
            let_threads_fall_asleep();
            done = true;
        }));
        EXPECT_TRUE(done);
    }
}

TEST(ThreadPool, ThreadsWithoutWorkTakeNoProcessorTime) {
    ThreadPool pool(4);
    pool.run(64, [](std::int64_t) {});
    let_threads_fall_asleep();
    const double before = processor_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    // Three threads that went on looking for work would take 0.4 s each, or a core's share of it.
    EXPECT_LT(processor_seconds() - before, 0.05);
    std::atomic<int> done = 0;
    pool.run(64, [&](std::int64_t) { ++done; });
    EXPECT_EQ(done, 64) << "they wake up";
}

TEST(ThreadPool, AForkedProcessGoesOnAloneAndEnds) {
    auto pool = std::make_unique<ThreadPool>(3);
    pool->run(10, [](std::int64_t) {});
    const pid_t child = ::fork();
    if (child == 0) {
        std::atomic<int> done = 0;
        for (int round = 0; round < 10; ++round) pool->run(20, [&](std::int64_t) { ++done; });
        const bool together = pool->run_together(2, [](std::int64_t) {});
        pool.reset();  // does not wait for threads that are the parent's
        ::_exit(done == 200 && !together ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST(ThreadPool, IsMadeAndEndedWithoutWorkAndWithSleepingThreads) {
    for (int round = 0; round < 50; ++round) ThreadPool(3).run(round % 2 * 5, [](std::int64_t) {});
    ThreadPool pool(2);
    pool.run(5, [](std::int64_t) {});
    let_threads_fall_asleep();
}

TEST(ThreadPool, RefusesWhatItCannotBe) {
    EXPECT_THROW(ThreadPool(0), std::invalid_argument);
    EXPECT_THROW(ThreadPool(kMostThreads + 1), std::invalid_argument);
    EXPECT_FALSE(ThreadPool(2).run_together(ThreadPool::kMostParts + 1, [](std::int64_t) {}));
    EXPECT_FALSE(ThreadPool(2).run_together(0, [](std::int64_t) {}));
    EXPECT_THROW(ThreadPool(2).run(ThreadPool::kMostParts + 1, [](std::int64_t) {}), std::invalid_argument);
}

}  // namespace
}  // namespace iwseg
