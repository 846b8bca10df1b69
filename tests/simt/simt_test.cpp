// The SIMT executor itself: what it computes, and the errors it must see.
#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/reduce.cuh"
#include "tests/simt/simt_backend.h"
#include "tests/simt/simt_launch.h"

namespace iwseg::simt {
namespace {

constexpr int kThreads = 256;

__global__ void sum_kernel(const int* values, int count, int* sums) {
    int sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(count);
         i += gridDim.x * blockDim.x)
        sum += values[i];
    sum = block_sum<kThreads>(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

TEST(Simt, ABlockSumsThroughShufflesAndSharedMemory) {
    std::vector<int> values(65536), sums(7);
    std::mt19937 random(std::random_device{}());
    for (int& value : values) value = static_cast<int>(random() % 1000);
    over_schedules([&] {
        launch(sum_kernel, {7, kThreads}, {}, values.data(), static_cast<int>(values.size()), sums.data());
        EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), 0), std::accumulate(values.begin(), values.end(), 0));
    });
}

__global__ void warp_kernel(unsigned* out) {
    const unsigned lane = threadIdx.x % 32, half = lane < 16 ? 0xFFFFu : 0xFFFF0000u;
    unsigned* mine = out + threadIdx.x * 6;
    mine[0] = __shfl_sync(0xFFFFFFFFu, lane * 10, 5);
    mine[1] = __shfl_down_sync(0xFFFFFFFFu, lane, 3);
    mine[2] = __shfl_up_sync(0xFFFFFFFFu, lane, 3);
    mine[3] = __shfl_xor_sync(half, lane, 1);
    mine[4] = __ballot_sync(0xFFFFFFFFu, lane % 3 == 0);
    mine[5] = __shfl_sync(0xFFFFFFFFu, lane, 1, 8);
}

TEST(Simt, ShufflesAndBallotsReadTheLanesTheyName) {
    over_schedules([] {
        std::vector<unsigned> out(64 * 6);
        launch(warp_kernel, {1, 64}, {}, out.data());
        for (unsigned t = 0; t < 64; ++t) {
            const unsigned lane = t % 32, *mine = &out[t * 6];
            EXPECT_EQ(mine[0], 50u);
            EXPECT_EQ(mine[1], lane + 3 < 32 ? lane + 3 : lane);
            EXPECT_EQ(mine[2], lane >= 3 ? lane - 3 : lane);
            EXPECT_EQ(mine[3], lane ^ 1u);
            EXPECT_EQ(mine[4], 0x49249249u);
            EXPECT_EQ(mine[5], lane / 8 * 8 + 1);
        }
    });
}

__global__ void index_kernel(int* seen) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    atomicAdd(&seen[block * blockDim.x * blockDim.y * blockDim.z + thread], 1);
}

TEST(Simt, EveryThreadOfEveryBlockRunsOnce) {
    over_schedules([] {
        std::vector<int> seen(std::size_t{2} * 3 * 4 * 30);
        launch(index_kernel, {{2, 3, 4}, {5, 3, 2}}, {}, seen.data());
        EXPECT_EQ(std::set<int>(seen.begin(), seen.end()), std::set<int>{1});
    });
}

__global__ void lonely_barrier_kernel() {
    if (threadIdx.x < 40) return;
    __syncthreads();
}
__global__ void two_barriers_kernel() {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}
__global__ void stuck_kernel() {
    if (threadIdx.x == 3) __shfl_sync(0xFFFFFFFFu, 1, 0);
    __syncthreads();
}
__global__ void outside_mask_kernel() {
    __shfl_sync(0x0000FFFFu, 1, 0);
}
__global__ void ended_lane_kernel() {
    if (threadIdx.x == 9) return;
    __syncwarp();
}

TEST(Simt, BarriersThatNotAllThreadsReachAreErrors) {
    over_schedules([] {
        EXPECT_SAYS(error_of(lonely_barrier_kernel, {1, 64}), "reached by 24 threads of 64");
        EXPECT_SAYS(error_of(two_barriers_kernel, {1, 64}), "different barriers");
        EXPECT_SAYS(error_of(stuck_kernel, {3, 64}), "deadlock");
        EXPECT_SAYS(error_of(outside_mask_kernel, {1, 32}), "not in its own mask");
        EXPECT_NE(error_of(ended_lane_kernel, {1, 32}), "");
    });
    // And the executor goes on afterwards.
    std::vector<int> values(100, 1), sums(1);
    launch(sum_kernel, {1, kThreads}, {}, values.data(), 100, sums.data());
    EXPECT_EQ(sums[0], 100);
}

__global__ void unwritten_kernel(float* out) {
    SHARED(float, values, 32);
    if (threadIdx.x == 7) values[7] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x];
}
__global__ void overrun_kernel(int last) {
    SHARED(float, values, 32);
    values[threadIdx.x] = 0.0f;
    if (threadIdx.x == 31) static_cast<volatile float*>(values)[last] = 0.0f;
}
__global__ void large_kernel() {
    SHARED(double, values, 6200);
    values[threadIdx.x] = 0;
}

TEST(Simt, SharedMemoryStartsAsNanAndHasAnEnd) {
    std::vector<float> out(32);
    launch(unwritten_kernel, {1, 32}, {}, out.data());
    for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(std::isnan(out[i]), i != 7);
    EXPECT_EQ(error_of(overrun_kernel, {1, 32}, 31), "");
    EXPECT_SAYS(error_of(overrun_kernel, {1, 32}, 33), "past a shared array of 128 bytes");
    EXPECT_SAYS(error_of(large_kernel, {1, 32}), "above 48 KB");
}

__global__ void write_kernel(int* to, int count) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) to[i] = i;
}

TEST(Simt, ACopyBehindDeviceMemoryIsFound) {
    auto* memory = static_cast<int*>(allocate(100 * 4));
    launch(write_kernel, {1, 128}, {}, memory, 100);
    EXPECT_NO_THROW(check_sentinels());
    set_zero({}, memory, 404);
    EXPECT_THROW(check_sentinels(), std::logic_error);
    memory[100] = static_cast<int>(0xA5A5A5A5u);
    EXPECT_NO_THROW(check_sentinels());
    set_zero({}, memory, 404);
    release(memory, 400);
    EXPECT_THROW(check_sentinels(), std::logic_error);
    EXPECT_NO_THROW(check_sentinels());
}

/// Reads, lets others go first, writes: not an atomic addition.
__global__ void racing_kernel(int* sum) {
    const int before = relaxed_load(sum);
    atomicAdd(sum + 1, 1);  // where the executor may switch
    *sum = before + 1;
}

TEST(Simt, ARaceIsSeenByRandomSchedulesOnly) {
    int seen = 0;
    for (std::uint64_t seed = 0; seed <= 20; ++seed) {
        schedule_by(seed);
        std::vector<int> sums(2);
        launch(racing_kernel, {1, 64}, {}, sums.data());
        EXPECT_EQ(sums[1], 64);
        if (seed == 0) {
            EXPECT_EQ(sums[0], 64) << "in order it is not seen";
        }
        if (seed > 0) seen += sums[0] != 64;
    }
    schedule_by(0);
    EXPECT_EQ(seen, 20);
}

TEST(Simt, ThreadsWithoutBarriersShareAFiber) {
    const std::int64_t switches = executor::launch_count().switches;
    std::vector<int> to(1024);
    launch(write_kernel, {1, 1024}, {}, to.data(), 1024);
    EXPECT_EQ(executor::launch_count().switches - switches, 1);
}

TEST(Simt, LaunchesThatNoCardTakesAreRefused) {
    std::vector<int> to(1);
    EXPECT_SAYS(error_of(write_kernel, {1, 1025}, to.data(), 1), "no card takes");
    EXPECT_SAYS(error_of(write_kernel, {{1, 65536}, 32}, to.data(), 1), "no card takes");
}

}  // namespace
}  // namespace iwseg::simt
