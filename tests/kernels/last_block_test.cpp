// Sums that the last block of a launch joins: every block's is in them, whichever ends last, and their bytes are the
// same.
#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/cuda/last_block.cuh"
#include "kernels/cuda/reduce.cuh"
#include "losses/loss.h"
#include "tests/simt/simt_backend.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg::simt {
namespace {

constexpr int kThreads = 64;

/// partial[block]: of the block's threads; *sum: of all, as f32 in the order of blocks.
__global__ void ordered_sum_kernel(const float* values, float* partial, float* sum, unsigned* counter) {
    const float of_block = block_sum<kThreads>(values[blockIdx.x * kThreads + threadIdx.x]);
    if (threadIdx.x == 0) relaxed_store(partial + blockIdx.x, of_block);
    if (!is_last_block(counter, gridDim.x) || threadIdx.x != 0) return;
    float all = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) all += relaxed_load(partial + b);
    *sum = all;
}

TEST(LastBlock, JoinsAllBlocksInTheirOrderUnderEverySchedule) {
    constexpr unsigned kBlocks = 23;
    std::vector<float> values(kBlocks * kThreads), partial(kBlocks);
    std::mt19937 random(std::random_device{}());
    for (float& value : values) value = std::normal_distribution<float>()(random);
    unsigned counter = 0;
    float first = 0;
    for (std::uint64_t seed = 0; seed <= 20; ++seed) {
        SCOPED_TRACE("schedule " + std::to_string(seed));
        schedule_by(seed);
        std::fill(partial.begin(), partial.end(), NAN);
        float sum = NAN;
        launch(ordered_sum_kernel, {kBlocks, kThreads}, {}, values.data(), partial.data(), &sum, &counter);
        EXPECT_EQ(counter, 0u);
        if (seed == 0) first = sum;
        EXPECT_EQ(sum, first);
    }
    schedule_by(0);
    EXPECT_NEAR(first, std::accumulate(values.begin(), values.end(), 0.0), 1e-2);  // 1,472 f32 additions
}

TEST(LastBlock, AStreamThatWasNotOpenedIsRefused) {
    EXPECT_THROW(counters_of({}), std::invalid_argument);
    const Stream opened = open_stream(nullptr);
    EXPECT_NO_THROW(counters_of(opened));
    close_stream(opened);
}

std::int64_t launches_of(const std::function<void()>& work) {
    const std::int64_t before = executor::launch_count().launches;
    work();
    return executor::launch_count().launches - before;
}

TEST(LastBlock, SumsAndWhatIsMadeOfThemAreOneLaunch) {
    const Backend& device = simt::backend();
    const Shape shape{2, 20, 3, 4, 5};
    const KernelStream stream(device);
    const KernelTensor x(device, reference::Array(shape), Layout::ndhwc, Type::bf16);
    const KernelTensor diff(device, reference::Array(shape), Layout::ndhwc, Type::bf16);
    const KernelArray<float> scale(device, 20, 1.0f), shift(device, 20, 0.0f), mean(device, 20), deviation(device, 20);
    const KernelArray<float> diff_scale(device, 20), diff_shift(device, 20);
    const auto scratch = kernel_scratch(device, device.batch_norm_scratch_bytes(shape, Layout::ndhwc));
    const BatchNormStatistics statistics{mean.data(), deviation.data()};
    EXPECT_EQ(
        1, launches_of([&] { device.batch_norm_statistics(stream, x.view(), 1e-5f, statistics, {}, scratch.data()); }));
    EXPECT_EQ(2, launches_of([&] {
                  device.batch_norm_backward(stream, x.view(), diff.view(), statistics, {scale.data(), shift.data()},
                                             kRelu, diff.view(), Write::overwrite, diff_scale.data(), diff_shift.data(),
                                             scratch.data());
              }));
    EXPECT_EQ(1, launches_of([&] { device.channel_sum(stream, x.view(), diff_shift.data(), scratch.data()); }));

    const Shape plain{2, 1, 3, 4, 5};
    const LossPass dice{formulas::Scaled<formulas::Overlap>{{}, 1}};
    const KernelTensor logit(device, reference::Array(plain), Layout::ncdhw, Type::f32);
    const KernelArray<std::uint8_t> target(device, plain.elements(), 1);
    const KernelArray<double> value(device, 1);
    const auto sums = kernel_scratch(device, device.loss_scratch_bytes(plain));
    EXPECT_EQ(
        1, launches_of([&] {
            device.loss_value(stream, dice, {logit.view(), target.data()}, sums.data(), value.data(), Write::overwrite);
        }));
}

}  // namespace
}  // namespace iwseg::simt
