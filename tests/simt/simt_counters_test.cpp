// The executor's counters: what they count of kernels whose requests are known.
#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/cuda/pack.cuh"
#include "tests/simt/simt_counters.h"
#include "tests/simt/simt_launch.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg::simt {
namespace {

using executor::AccessCount;
using executor::Counters;
using executor::Space;

class SimtCounters : public testing::Test {
  protected:
    void SetUp() override {
        if (!executor::has_hooks()) GTEST_SKIP() << "kernels of this build are compiled without hooks";
    }

    /// What a launch of one kernel counts, reading or writing in one space, over all lines.
    template <class... P, class... A>
    AccessCount count(Space space, bool write, void (*kernel)(P...), const LaunchShape& shape, const A&... arguments) {
        Counters counters;
        {
            const executor::Counting counting(counters);
            launch(kernel, shape, {}, arguments...);
        }
        AccessCount all;
        for (const executor::LineCount& line : counters.lines())
            if (line.space == space && line.write == write) all.add(line.count);
        return all;
    }
};

__global__ void strided_kernel(const float* from, int stride, int shift, float* to) {
    to[threadIdx.x] = from[static_cast<int>(threadIdx.x) * stride + shift];
}

TEST_F(SimtCounters, SectorsAreThoseThatARequestTouches) {
    const KernelArray<float> from(backend(), 4096), to(backend(), 64);
    const auto reads = [&](int stride, int shift) {
        return count(Space::device, false, strided_kernel, {1, 64}, from.data(), stride, shift, to.data());
    };
    EXPECT_EQ(reads(1, 0).requests, 2);
    EXPECT_EQ(reads(1, 0).sectors, 8);
    EXPECT_EQ(reads(1, 0).fewest, 8);
    EXPECT_EQ(reads(1, 1).sectors, 10) << "not aligned: one more a warp";
    EXPECT_EQ(reads(1, 1).fewest, 8);
    EXPECT_EQ(reads(8, 0).sectors, 64);
    EXPECT_EQ(reads(8, 0).sector_efficiency(), 8.0 / 64);
    EXPECT_EQ(reads(0, 5).sectors, 2) << "all lanes read one number";
    EXPECT_EQ(reads(0, 5).fewest, 2);
}

template <class T>
__global__ void banks_kernel(int stride, T* to) {
    SHARED(T, numbers, 1056);
    for (int i = static_cast<int>(threadIdx.x); i < 1056; i += 32) numbers[i] = {};
    __syncthreads();
    to[threadIdx.x] = numbers[static_cast<int>(threadIdx.x) * stride];
}

TEST_F(SimtCounters, BanksThatAreAskedForTwoWordsTakeACycleMore) {
    const KernelArray<float> to(backend(), 32);
    const auto reads = [&](int stride) {
        return count(Space::shared, false, banks_kernel<float>, {1, 32}, stride, to.data());
    };
    EXPECT_EQ(reads(1).cycles, 1);
    EXPECT_EQ(reads(0).cycles, 1) << "one word for all";
    EXPECT_EQ(reads(2).cycles, 2);
    EXPECT_EQ(reads(8).cycles, 8);
    EXPECT_EQ(reads(32).cycles, 32);
    EXPECT_EQ(reads(33).cycles, 1);
    EXPECT_EQ(reads(33).least, 1);
}

TEST_F(SimtCounters, WiderAccessesGoInHalvesAndQuartersOfAWarp) {
    const KernelArray<double> to(backend(), 32);
    const AccessCount reads = count(Space::shared, false, banks_kernel<double>, {1, 32}, 1, to.data());
    EXPECT_EQ(reads.cycles, 2);
    EXPECT_EQ(reads.least, 2);
    const AccessCount apart = count(Space::shared, false, banks_kernel<double>, {1, 32}, 2, to.data());
    EXPECT_EQ(apart.cycles, 4);
}

__global__ void branch_kernel(int lanes, int* to) {
    if (static_cast<int>(threadIdx.x) < lanes) to[threadIdx.x] = 1;
}

TEST_F(SimtCounters, LanesThatTakePartAreCounted) {
    const KernelArray<int> to(backend(), 64);
    const AccessCount writes = count(Space::device, true, branch_kernel, {1, 64}, 40, to.data());
    EXPECT_EQ(writes.requests, 2);
    EXPECT_EQ(writes.lanes, 40);
    EXPECT_EQ(writes.lanes_a_request(), 20);
}

__global__ void atomic_kernel(int places, int* to) {
    atomicAdd(to + threadIdx.x % places, 1);
}

TEST_F(SimtCounters, AtomicsOnOneAddressFollowOneAnother) {
    const KernelArray<int> to(backend(), 32);
    for (const int places : {1, 4, 32}) {
        const AccessCount atomics = count(Space::device, true, atomic_kernel, {1, 96}, places, to.data());
        EXPECT_EQ(atomics.atomics, 3);
        EXPECT_EQ(atomics.in_turn, 3 * 32 / places);
    }
}

template <class T>
__global__ void pack_kernel(const T* from, float factor, T* to) {
    constexpr int W = kPackWidth<T>;
    float values[W];
    load_pack<W>(from + threadIdx.x * W, values);
    for (int i = 0; i < W; ++i) values[i] *= factor;
    store_pack<W>(to + threadIdx.x * W, values);
}

TEST_F(SimtCounters, APackIsOneAccess) {
    const KernelArray<float> f32(backend(), 4 * 64);
    const KernelArray<Bf16> bf16(backend(), 8 * 64);
    for (const bool write : {false, true}) {
        const AccessCount wide = count(Space::device, write, pack_kernel<float>, {1, 64}, f32.data(), 2.0f, f32.data());
        EXPECT_EQ(wide.requests, 2);
        EXPECT_EQ(wide.sectors, 32);
        const AccessCount narrow =
            count(Space::device, write, pack_kernel<Bf16>, {1, 64}, bf16.data(), 2.0f, bf16.data());
        EXPECT_EQ(narrow.requests, 2);
        EXPECT_EQ(narrow.sectors, 32);
        EXPECT_EQ(narrow.fewest, 32);
    }
}

}  // namespace
}  // namespace iwseg::simt
