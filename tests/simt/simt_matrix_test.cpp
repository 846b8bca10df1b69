// The executor's tensor-core instructions and asynchronous copies: what they compute, and the errors that must be seen.
#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/warp_matrix.cuh"
#include "tests/simt/simt_launch.h"

namespace iwseg::simt {
namespace {

using Row = Pack<Bf16, 8>;

std::vector<Bf16> noise(std::size_t count, std::mt19937& random) {
    std::vector<Bf16> numbers(count);
    for (Bf16& number : numbers) store(number, std::normal_distribution<float>()(random));
    return numbers;
}

/// Loads N matrices of `rows`, both ways.
template <int N>
__global__ void load_kernel(const Row* rows, unsigned* plain, unsigned* transposed) {
    SHARED(Row, tile, 8 * N);
    if (threadIdx.x < 8 * N) tile[threadIdx.x] = rows[threadIdx.x];
    __syncthreads();
    const Bf16* row = tile[threadIdx.x % (8 * N)].values;
    unsigned to[N];
    load_matrices(row, to);
    for (int j = 0; j < N; ++j) plain[threadIdx.x * N + j] = to[j];
    load_matrices_transposed(row, to);
    for (int j = 0; j < N; ++j) transposed[threadIdx.x * N + j] = to[j];
}

template <int N>
void expect_loaded(std::mt19937& random) {
    const std::vector<Bf16> from = noise(64 * N, random);
    std::vector<unsigned> plain(32 * N), transposed(32 * N);
    launch(load_kernel<N>, {1, 32}, {}, reinterpret_cast<const Row*>(from.data()), plain.data(), transposed.data());
    for (int lane = 0; lane < 32; ++lane)
        for (int j = 0; j < N; ++j)
            for (int i = 0; i < 2; ++i) {
                const int row = lane / 4, column = lane % 4 * 2 + i;
                const auto at = static_cast<std::size_t>(lane * N + j);
                EXPECT_EQ(plain[at] >> 16 * i & 0xFFFFu,
                          from[static_cast<std::size_t>(j * 64 + row * 8 + column)].bits);
                EXPECT_EQ(transposed[at] >> 16 * i & 0xFFFFu,
                          from[static_cast<std::size_t>(j * 64 + column * 8 + row)].bits);
            }
}

TEST(SimtMatrix, LoadsSpreadMatricesOverTheWarpAsTheyLieAndTransposed) {
    std::mt19937 random(std::random_device{}());
    over_schedules([&] {
        expect_loaded<1>(random);
        expect_loaded<2>(random);
        expect_loaded<4>(random);
    });
}

/// c (16 x 8) += a (16 x 8 M) b (8 M x 8); b is given transposed, as (8 x 8 M).
template <int M>
__global__ void multiply_kernel(const Bf16* a, const Bf16* b, float* c) {
    constexpr int kDepth = 8 * M;
    const int lane = static_cast<int>(threadIdx.x), across = lane / 4, pair = lane % 4 * 2;
    const auto two = [](const Bf16* from) { return unsigned{from[0].bits} | unsigned{from[1].bits} << 16; };
    unsigned of_a[2 * M], of_b[M];
    for (int j = 0; j < M; ++j) {
        of_a[2 * j] = two(a + across * kDepth + 8 * j + pair);
        of_a[2 * j + 1] = two(a + (across + 8) * kDepth + 8 * j + pair);
        of_b[j] = two(b + across * kDepth + 8 * j + pair);
    }
    float sum[4];
    for (int i = 0; i < 4; ++i) sum[i] = c[(across + i / 2 * 8) * 8 + pair + i % 2];
    multiply_add(sum, of_a, of_b);
    for (int i = 0; i < 4; ++i) c[(across + i / 2 * 8) * 8 + pair + i % 2] = sum[i];
}

template <int M>
void expect_product(std::mt19937& random) {
    const std::vector<Bf16> a = noise(16 * 8 * M, random), b = noise(8 * 8 * M, random);
    std::vector<float> c(128), expected;
    for (float& value : c) value = std::normal_distribution<float>()(random);
    for (std::size_t i = 0; i < 128; ++i) {  // in the order that simt_matrix.cpp states
        float sum = c[i];
        for (std::size_t k = 0; k < 8 * M; ++k) sum += to_f32(a[i / 8 * 8 * M + k]) * to_f32(b[i % 8 * 8 * M + k]);
        expected.push_back(sum);
    }
    launch(multiply_kernel<M>, {1, 32}, {}, a.data(), b.data(), c.data());
    EXPECT_EQ(c, expected);
}

TEST(SimtMatrix, ProductsAreSummedInTheOrderOfK) {
    std::mt19937 random(std::random_device{}());
    over_schedules([&] {
        expect_product<1>(random);
        expect_product<2>(random);
    });
}

__global__ void crooked_kernel(int what) {
    SHARED(Row, tile, 16);
    unsigned to[2];
    if (threadIdx.x == 5 && what == 1) return;
    const Bf16* row = tile[threadIdx.x % 16].values;
    if (threadIdx.x == 9 && what == 2) row += 4;
    if (threadIdx.x == 9 && what == 3) row += 16 * 8;
    if (threadIdx.x == 20 && what == 4) row += 16 * 8;
    load_matrices(row, to);
}

TEST(SimtMatrix, LoadsByHalfAWarpOrOutsideSharedMemoryAreErrors) {
    over_schedules([] {
        EXPECT_SAYS(error_of(crooked_kernel, {1, 32}, 1), "ended");
        EXPECT_SAYS(error_of(crooked_kernel, {1, 32}, 2), "not aligned to 16 bytes");
        EXPECT_SAYS(error_of(crooked_kernel, {1, 32}, 3), "outside the block's shared memory");
        EXPECT_EQ(error_of(crooked_kernel, {1, 32}, 4), "") << "addresses of lanes that name no row are not used";
        EXPECT_SAYS(error_of(crooked_kernel, {1, 24}, 0), "lanes that the block does not have");
    });
}

/// Rows `apart` packs apart.
__global__ void strided_kernel(int apart) {
    SHARED(Row, tile, 128);
    unsigned to[1];
    load_matrices(tile[threadIdx.x % 8 * static_cast<unsigned>(apart)].values, to);
}

TEST(SimtMatrix, BankConflictsAreCounted) {
    for (const auto& [apart, cycles] :
         std::vector<std::pair<int, int>>{{0, 1}, {1, 1}, {2, 2}, {3, 1}, {4, 4}, {8, 8}, {16, 8}}) {
        const executor::LaunchCount before = executor::launch_count();
        launch(strided_kernel, {1, 32}, {}, apart);
        EXPECT_EQ(executor::launch_count().matrices - before.matrices, 1);
        EXPECT_EQ(executor::launch_count().matrix_cycles - before.matrix_cycles, cycles) << apart << " packs apart";
    }
}

/// What is left out of the copying kernel.
enum Missing : int { kNothing, kWait, kBarrier, kLastBarrier, kCommit };

/// Each round reverses a row of a block's 64 packs through one of two buffers, the next row being under way.
__global__ void reverse_kernel(const Row* from, int rows, Row* to, int missing) {
    SHARED(Row, buffers, 128);
    const unsigned i = threadIdx.x;
    const auto begin = [&](int row) {
        begin_copy(&buffers[row % 2 * 64 + i], from + row * 64 + i, true);
        if (missing != kCommit) commit_copies();
    };
    begin(0);
    for (int row = 0; row < rows; ++row) {
        if (row + 1 < rows) begin(row + 1);
        if (missing != kWait) {
            if (row + 1 < rows)
                wait_for_copies<1>();
            else
                wait_for_copies<0>();
        }
        if (missing != kBarrier) __syncthreads();
        to[row * 64 + i] = buffers[row % 2 * 64 + 63 - i];
        if (missing != kLastBarrier) __syncthreads();
    }
    commit_copies();
    wait_for_copies<0>();
}

/// How many of the packs are not where they should be.
int misplaced(int missing) {
    constexpr int kRows = 5;
    std::mt19937 random(std::random_device{}());
    const std::vector<Bf16> from = noise(kRows * 64 * 8, random);
    std::vector<Bf16> to(from.size());
    launch(reverse_kernel, {1, 64}, {}, reinterpret_cast<const Row*>(from.data()), kRows,
           reinterpret_cast<Row*>(to.data()), missing);
    int count = 0;
    for (std::size_t pack = 0; pack < kRows * 64; ++pack)
        count += std::memcmp(&to[pack * 8], &from[(pack / 64 * 64 + 63 - pack % 64) * 8], sizeof(Row)) != 0;
    return count;
}

/// By what it leaves, or, where accesses are looked at (tests/simt/simt_hooks.h), as a race.
bool is_seen(int missing) {
    try {
        return misplaced(missing) > 0;
    } catch (const std::logic_error&) {
        return true;
    }
}

TEST(SimtCopies, LandBeforeTheWaitForTheirGroupEnds) {
    over_schedules([] { EXPECT_EQ(misplaced(kNothing), 0); });
}

TEST(SimtCopies, AMissingWaitCommitOrBarrierIsSeenOnAnySchedule) {
    over_schedules([] {
        EXPECT_TRUE(is_seen(kWait));
        EXPECT_TRUE(is_seen(kCommit));
        EXPECT_TRUE(is_seen(kBarrier));
    });
}

TEST(SimtCopies, ACopyOverWhatOthersStillReadIsSeenByRandomSchedules) {
    int seen = 0;
    over_schedules([&] { seen += is_seen(kLastBarrier); });
    EXPECT_GE(seen, 18) << "of 20 random schedules";
}

__global__ void outside_kernel(const Row* from, Row* to) {
    SHARED(Row, tile, 32);
    begin_copy(&tile[threadIdx.x], threadIdx.x % 2 ? from + threadIdx.x : nullptr, threadIdx.x % 2);
    commit_copies();
    wait_for_copies<0>();
    to[threadIdx.x] = tile[threadIdx.x];
}

TEST(SimtCopies, FromOutsideAreZeros) {
    std::mt19937 random(std::random_device{}());
    const std::vector<Bf16> from = noise(32 * 8, random);
    over_schedules([&] {
        std::vector<Bf16> to(32 * 8);
        launch(outside_kernel, {1, 32}, {}, reinterpret_cast<const Row*>(from.data()),
               reinterpret_cast<Row*>(to.data()));
        for (std::size_t i = 0; i < to.size(); ++i) EXPECT_EQ(to[i].bits, i / 8 % 2 ? from[i].bits : 0u);
    });
}

__global__ void wrong_copy_kernel(const Row* from, int what) {
    SHARED(Row, tile, 32);
    Row* own = tile;
    own += threadIdx.x + (what == 1 ? 1 : 0);
    Bf16* to = own->values + (what == 0 ? 1 : 0);
    begin_copy(to, what == 2 ? from[threadIdx.x].values + 2 : from[threadIdx.x].values, true);
    commit_copies();
    if (what != 3 || threadIdx.x != 7) wait_for_copies<0>();
}

TEST(SimtCopies, ThatAreCrookedOrNotWaitedForAreErrors) {
    const std::vector<Row> from(33);
    over_schedules([&] {
        EXPECT_SAYS(error_of(wrong_copy_kernel, {1, 32}, from.data(), 0),
                    "destination of an asynchronous copy is not aligned");
        EXPECT_SAYS(error_of(wrong_copy_kernel, {1, 32}, from.data(), 1), "lies outside the block's shared memory");
        EXPECT_SAYS(error_of(wrong_copy_kernel, {1, 32}, from.data(), 2),
                    "source of an asynchronous copy is not aligned");
        EXPECT_SAYS(error_of(wrong_copy_kernel, {1, 32}, from.data(), 3), "without having waited for its copies");
    });
}

}  // namespace
}  // namespace iwseg::simt
