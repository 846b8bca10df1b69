// Pools of which the machine does not give all threads.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "engine/context.h"
#include "kernels/cpu/thread_pool.h"

namespace {

/// Allocations of this thread that succeed until they fail; below 0: all.
thread_local int allocations_left = -1;

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) {
    if (allocations_left == 0) throw std::bad_alloc();
    if (allocations_left > 0) --allocations_left;
    if (void* const memory = std::malloc(bytes)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace iwseg {
namespace {

TEST(ThreadStart, WithoutMemoryForAllThreadsTheOthersDoTheWork) {
    ThreadPool pool(8);
    std::vector<int> times(100, 0);
    allocations_left = 2;  // a thread takes one
    pool.run(100, [&](std::int64_t part) { ++times[part]; });
    allocations_left = -1;
    EXPECT_EQ(times, std::vector<int>(100, 1));
    EXPECT_EQ(pool.threads_there(), 3);
    EXPECT_EQ(pool.threads(), 8) << "work is divided by as many as before";
    std::atomic<int> members = 0;
    EXPECT_TRUE(pool.run_together(3, [&](std::int64_t) { ++members; })) << "it is not at work any more";
    EXPECT_EQ(members, 3);
    EXPECT_FALSE(pool.run_together(4, [&](std::int64_t) { ++members; }));
}

TEST(ThreadStart, WhatTheMachineGivesIsInTheDescription) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const Context context({.device = "cpu", .threads = 64});
        // Room for the stacks of some threads, of a megabyte or more each, and not for those of 63.
        const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (rlim_t{60} << 20);
        const rlimit limit{bytes, bytes};
        if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(2);
        const std::string text = context.description();
        ::_exit(text.find("64 threads (as asked for), of which the machine gives ") != std::string::npos ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST(ThreadStart, ThreadsThatAreThereAreNotTalkedAbout) {
    EXPECT_EQ(Context({.device = "cpu", .threads = 3}).description().find("gives"), std::string::npos);
    ThreadPool pool(3);
    EXPECT_EQ(pool.threads_there(), 3);
    int within = 0;
    pool.run(2, [&](std::int64_t part) {
        if (part == 0) within = pool.threads_there();
    });
    EXPECT_EQ(within, 3) << "asked for from within a part";
    EXPECT_EQ(ThreadPool(1).threads_there(), 1);
}

}  // namespace
}  // namespace iwseg
