// What the executor finds by looking at each access of a kernel: races, accesses out of bounds, reads of what nothing
// has written. Orders of threads and blocks play no part: every test runs in order.
#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/reduce.cuh"
#include "tests/simt/simt_launch.h"

namespace iwseg::simt {
namespace {

/// Integers of device memory.
class Memory {
  public:
    explicit Memory(int count, bool zero = true) : bytes_(4 * count), data_(static_cast<int*>(allocate(bytes_))) {
        if (zero) set_zero({}, data_, bytes_);
    }
    ~Memory() { release(data_, bytes_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    int* data() const { return data_; }

  private:
    std::int64_t bytes_;
    int* data_;
};

class Races : public testing::Test {
  protected:
    void SetUp() override {
        if (!executor::has_hooks()) GTEST_SKIP() << "kernels of this build are compiled without hooks";
    }
};
using Bounds = Races;

#define EXPECT_CLEAN(text) EXPECT_EQ(text, "")

// One block: barriers and warps.

/// Kinds of what may lie between a write and another thread's read.
enum class Between { nothing, shuffle, warp_barrier, half_warp_barrier, barrier };

__global__ void pass_on_kernel(Between between, int distance, int* out) {
    SHARED(int, values, 64);
    const int thread = static_cast<int>(threadIdx.x);
    values[thread] = thread;
    if (between == Between::shuffle) __shfl_sync(0xFFFFFFFFu, thread, 0);
    if (between == Between::warp_barrier) __syncwarp();
    if (between == Between::half_warp_barrier) __syncwarp(thread % 32 < 16 ? 0x0000FFFFu : 0xFFFF0000u);
    if (between == Between::barrier) __syncthreads();
    out[thread] = values[(thread + distance) % 64];
}

TEST_F(Races, AReadOfWhatAnotherThreadWroteNeedsABarrier) {
    const Memory out(64);
    const auto error = [&](Between between, int distance) {
        return error_of(pass_on_kernel, {1, 64}, between, distance, out.data());
    };
    EXPECT_CLEAN(error(Between::nothing, 0));
    EXPECT_SAYS(error(Between::nothing, 1), "a race in shared memory");
    EXPECT_CLEAN(error(Between::barrier, 1));
    EXPECT_SAYS(error(Between::shuffle, 1), "a race");  // a shuffle orders no memory
}

__global__ void pass_on_in_warps_kernel(Between between, int distance, int* out) {
    SHARED(int, values, 64);
    const int thread = static_cast<int>(threadIdx.x), first = thread / 32 * 32;
    values[thread] = thread;
    if (between == Between::warp_barrier) __syncwarp();
    if (between == Between::half_warp_barrier) __syncwarp(thread % 32 < 16 ? 0x0000FFFFu : 0xFFFF0000u);
    out[thread] = values[first + (thread % 32 ^ distance)];
}

TEST_F(Races, AWarpBarrierOrdersTheLanesThatMeetAtIt) {
    const Memory out(64);
    const auto error = [&](Between between, int distance) {
        return error_of(pass_on_in_warps_kernel, {1, 64}, between, distance, out.data());
    };
    EXPECT_CLEAN(error(Between::warp_barrier, 16));
    EXPECT_CLEAN(error(Between::half_warp_barrier, 8));
    EXPECT_SAYS(error(Between::half_warp_barrier, 16), "a race");  // halves that have not met
    EXPECT_SAYS(error_of(pass_on_kernel, {1, 64}, Between::warp_barrier, 32, out.data()), "a race");  // two warps
}

__global__ void reuse_kernel(bool barrier, int* out) {
    SHARED(int, values, 64);
    for (int round = 0; round < 3; ++round) {
        values[threadIdx.x] = round;
        __syncthreads();
        int sum = 0;
        for (int i = 0; i < 64; ++i) sum += values[i];
        out[threadIdx.x] = sum;
        if (barrier) __syncthreads();
    }
}

TEST_F(Races, AWriteOverWhatOthersStillReadIsOne) {
    const Memory out(64);
    EXPECT_CLEAN(error_of(reuse_kernel, {1, 64}, true, out.data()));
    EXPECT_SAYS(error_of(reuse_kernel, {1, 64}, false, out.data()), "a race in shared memory");
}

// Several blocks.

constexpr int kPlainWriteLine = __LINE__ + 4;
__global__ void to_one_place_kernel(int mode, int* to) {
    if (threadIdx.x != 0) return;
    if (mode == 0) atomicAdd(to, 1);
    if (mode == 1 && blockIdx.x == 2) *to = 1;
    if (mode == 1 && blockIdx.x != 2) atomicAdd(to, 1);
    if (mode == 2 && blockIdx.x == 2) relaxed_store(to, 1);
    if (mode == 2 && blockIdx.x != 2) to[1 + blockIdx.x] = relaxed_load(to);
    if (mode == 3 && blockIdx.x == 2) relaxed_store(to, 1);
    if (mode == 3 && blockIdx.x != 2) to[1 + blockIdx.x] = *to;
    if (mode == 4) *to = 1;
    if (mode == 5) to[1 + blockIdx.x] = *to;
}

TEST_F(Races, APlainAccessBesideAnAtomicIsOne) {
    const Memory memory(8);
    const auto error = [&](int mode) { return error_of(to_one_place_kernel, {4, 32}, mode, memory.data()); };
    EXPECT_CLEAN(error(0));
    EXPECT_SAYS(error(1), "a plain write");
    EXPECT_CLEAN(error(2));
    EXPECT_SAYS(error(3), "a plain read");
    EXPECT_SAYS(error(4), "a plain write");  // even if all write the same
    EXPECT_CLEAN(error(5));
}

TEST_F(Races, AReportNamesKernelLinesBlocksAndThreads) {
    const Memory memory(8);
    const std::string error = error_of(to_one_place_kernel, {4, 32}, 1, memory.data());
    EXPECT_SAYS(error, "to_one_place_kernel");
    EXPECT_SAYS(error, "by thread 0 of block 0, 0, 0");
    EXPECT_SAYS(error, "an atomic read at simt_races_test.cpp:" + std::to_string(kPlainWriteLine + 1));
    EXPECT_SAYS(error, "by thread 0 of block 2, 0, 0");
    EXPECT_SAYS(error, "a plain write at simt_races_test.cpp:" + std::to_string(kPlainWriteLine));
}

__global__ void bytes_kernel(int shift, unsigned char* to) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    to[i] = 1;
    if (shift && threadIdx.x == 0 && blockIdx.x > 0) to[i - 1] = 1;
}

TEST_F(Races, BytesOfOneWordAreApart) {
    const Memory memory(64);
    auto* bytes = reinterpret_cast<unsigned char*>(memory.data());
    EXPECT_CLEAN(error_of(bytes_kernel, {7, 33}, 0, bytes));
    EXPECT_SAYS(error_of(bytes_kernel, {7, 33}, 1, bytes), "a race in device memory");
}

TEST_F(Races, LaunchesDoNotRaceWithEachOther) {
    const Memory memory(64);
    auto* bytes = reinterpret_cast<unsigned char*>(memory.data());
    for (int time = 0; time < 3; ++time) EXPECT_CLEAN(error_of(bytes_kernel, {3, 32}, 0, bytes));
}

/// The last block to come adds up what the others left: which of its fences it leaves out.
enum class Without { nothing, fence_before, fence_behind, barrier_before };

__global__ void last_block_kernel(Without without, int* partial, int* arrived, int* sum) {
    SHARED(int, is_last, 1);
    partial[blockIdx.x * 64 + threadIdx.x] = static_cast<int>(blockIdx.x);
    if (without != Without::barrier_before) __syncthreads();
    if (threadIdx.x == 0) {
        if (without != Without::fence_before) __threadfence();
        is_last[0] = atomicAdd(arrived, 1) == static_cast<int>(gridDim.x) - 1;
        if (without != Without::fence_behind) __threadfence();
    }
    __syncthreads();
    if (!is_last[0]) return;
    for (unsigned b = 0, other = threadIdx.x ^ 33u; b < gridDim.x; ++b) sum[threadIdx.x] += partial[b * 64 + other];
}

TEST_F(Races, TheLastBlockMayReadWhatTheOthersFencedBeforeTheyArrived) {
    const Memory partial(64 * 9), arrived(1), sum(64);
    const auto error = [&](Without without) {
        set_zero({}, arrived.data(), 4);
        return error_of(last_block_kernel, {9, 64}, without, partial.data(), arrived.data(), sum.data());
    };
    EXPECT_CLEAN(error(Without::nothing));
    EXPECT_SAYS(error(Without::fence_before), "a race in device memory");
    EXPECT_SAYS(error(Without::fence_behind), "a race in device memory");
    EXPECT_SAYS(error(Without::barrier_before), "a race in device memory");
    EXPECT_CLEAN(error(Without::nothing));
}

// Bounds.

__global__ void touch_kernel(const int* from, int i, int* to) {
    if (to) to[i] = 7;
    if (from) to = const_cast<int*>(from), relaxed_load(to + i);
}
__global__ void touch_shared_kernel(int write, int i, int* to) {
    SHARED(int, first, 10);
    SHARED(int, second, 10);
    first[threadIdx.x] = second[threadIdx.x] = 1;
    __syncthreads();
    if (write) first[i] = 1;
    to[threadIdx.x] = first[i];
}

TEST_F(Bounds, AccessesOutsideABufferAreFound) {
    const Memory before(20), memory(100), behind(20);
    int* const none = nullptr;
    EXPECT_CLEAN(error_of(touch_kernel, {1, 1}, memory.data(), 99, none));
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, memory.data(), 100, none),
                "touch_kernel: reads 4 bytes 0 bytes past a buffer of 400 bytes");
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, none, 105, memory.data()),
                "writes 4 bytes 20 bytes past a buffer of 400");
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, none, -3, memory.data()), "12 bytes before a buffer of 400 bytes");
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, memory.data(), 100000000, none), "past a buffer of 80 bytes");
    EXPECT_NO_THROW(check_sentinels()) << "what was found did not happen";
    auto* odd = reinterpret_cast<int*>(reinterpret_cast<char*>(memory.data()) + 2);
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, odd, 99, none), "over the end of a buffer of 400 bytes");
}

TEST_F(Bounds, AccessesOutsideASharedArrayAreFound) {
    const Memory out(4);
    EXPECT_CLEAN(error_of(touch_shared_kernel, {1, 4}, 0, 3, out.data()));
    EXPECT_SAYS(error_of(touch_shared_kernel, {1, 4}, 0, 10, out.data()),
                "reads 4 bytes past a shared array of 40 bytes");
    EXPECT_SAYS(error_of(touch_shared_kernel, {1, 4}, 1, 10, out.data()), "writes 4 bytes past a shared array");
    EXPECT_SAYS(error_of(touch_shared_kernel, {1, 4}, 1, -1, out.data()), "before the shared arrays");
}

TEST_F(Bounds, MemoryThatWasReleasedIsNotReadAgain) {
    int* released = nullptr;
    {
        const Memory memory(100);
        released = memory.data();
    }
    const Memory next(100);
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, released, 3, static_cast<int*>(nullptr)),
                "12 bytes into a buffer of 400 bytes that was released");
}

TEST_F(Bounds, WhatNothingHasWrittenIsNotRead) {
    const Memory memory(100, false);
    int* const none = nullptr;
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, memory.data(), 17, none),
                "that nothing has written, 68 bytes into a buffer");
    EXPECT_CLEAN(error_of(touch_kernel, {1, 1}, none, 17, memory.data()));
    EXPECT_CLEAN(error_of(touch_kernel, {1, 1}, memory.data(), 17, none));
    const int one = 1;
    copy_to_device({}, &one, memory.data() + 30, 4);
    synchronise({});
    EXPECT_CLEAN(error_of(touch_kernel, {1, 1}, memory.data(), 30, none));
    EXPECT_SAYS(error_of(touch_kernel, {1, 1}, memory.data(), 31, none), "that nothing has written");
}

TEST_F(Bounds, ALaunchThatEndedSoLeavesTheNextAsItWas) {
    const Memory memory(100);
    for (int time = 0; time < 3; ++time) {
        EXPECT_SAYS(error_of(touch_kernel, {1, 1}, memory.data(), 100, static_cast<int*>(nullptr)), "past a buffer");
        EXPECT_CLEAN(error_of(bytes_kernel, {3, 64}, 0, reinterpret_cast<unsigned char*>(memory.data())));
    }
}

}  // namespace
}  // namespace iwseg::simt
