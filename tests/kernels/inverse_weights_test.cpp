#include "kernels/components/inverse_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "engine/safetensors.h"
#include "kernels/components/components.h"
#include "tests/support/backends.h"
#include "tests/support/golden.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

using Labels = std::vector<std::int32_t>;

struct Weighted {
    std::vector<float> table, weights;
};

Weighted compute_weights(TestBackend backend, const Labels& labels, const Shape& shape, std::int64_t stride,
                         WeightClip clip = {}) {
    const Backend& device = backend_of(backend);
    const KernelArray<std::int32_t> on_device(device, labels);
    const KernelArray<float> table(device, shape.n * stride + 1, -7.0f), weights(device, shape.elements() + 1, -7.0f);
    const View view{on_device.data(), shape, Type::i32};
    device.inverse_weight_table({}, view, table.data(), stride, clip);
    device.look_up_weights({}, view, table.data(), stride, {weights.data(), shape, Type::f32});
    Weighted result{table.host(), weights.host()};
    EXPECT_EQ(result.table.back(), -7.0f) << "wrote past the table";
    EXPECT_EQ(result.weights.back(), -7.0f) << "wrote past the weights";
    result.table.pop_back();
    result.weights.pop_back();
    if (backend == TestBackend::simt) simt::check_sentinels();
    return result;
}

/// The definition, voxel by voxel, for one patch.
std::vector<float> weights_by_definition(const Labels& labels, WeightClip clip = {}) {
    std::map<std::int32_t, double> sizes;
    for (const std::int32_t l : labels) ++sizes[l];
    std::vector<float> weights;
    for (const std::int32_t l : labels)
        weights.push_back(static_cast<float>(std::clamp<double>(
            static_cast<double>(labels.size()) / (static_cast<double>(sizes.size()) * sizes[l]), clip.low, clip.high)));
    return weights;
}

Labels random_labels(const Shape& shape, int most, std::mt19937& random) {
    Labels labels;
    std::geometric_distribution<int> length(0.02);  // runs, as in a real patch
    std::uniform_int_distribution<int> label(0, most);
    while (static_cast<std::int64_t>(labels.size()) < shape.elements())
        labels.insert(labels.end(), 1 + length(random), label(random));
    labels.resize(shape.elements());
    return labels;
}

class InverseWeights : public testing::TestWithParam<TestBackend> {
  protected:
    InverseWeights()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    void TearDown() override { simt::schedule_by(0); }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

}  // namespace

TEST_P(InverseWeights, GoldenMasksGiveTheOriginalsLabelsAndWeightsExactly) {
    const auto golden = read_safetensors(golden_file("inverse_weights.golden.safetensors"));
    int cases = 0;
    for (const auto& [name, mask] : golden) {
        if (!name.ends_with(".mask")) continue;
        const std::string key = name.substr(0, name.size() - 5);
        SCOPED_TRACE(key);
        const Shape shape{1, 1, mask.shape[0], mask.shape[1], mask.shape[2]};
        std::vector<std::byte> voxels = mask.bytes;
        Labels labels(shape.elements());
        std::int32_t count = 0;
        cpu::label_components({}, {voxels.data(), shape, Type::u8}, {labels.data(), shape, Type::i32}, &count, 26,
                              nullptr);
        EXPECT_TRUE(labels == golden.at(key + ".cc").as_i32());
        EXPECT_TRUE(compute_weights(GetParam(), labels, shape, count + 1).weights ==
                    golden.at(key + ".weight").as_f32());
        ++cases;
    }
    EXPECT_GE(cases, 5);  // 9 where all of them are
}

TEST_P(InverseWeights, RandomBatchesWeighAsDefined) {
    for (int trial = 0; trial < 20; ++trial) {
        const Shape shape{1 + trial % 3, 1, 5 + trial, 13, 17};
        const Labels labels = random_labels(shape, trial * 3, random_);
        const Weighted found = compute_weights(GetParam(), labels, shape, trial * 3 + 1 + trial % 2);
        for (std::int64_t n = 0; n < shape.n; ++n) {
            const auto from = n * shape.voxels(), to = from + shape.voxels();
            const auto expected = weights_by_definition(Labels(labels.begin() + from, labels.begin() + to));
            ASSERT_TRUE(std::equal(expected.begin(), expected.end(), found.weights.begin() + from)) << "patch " << n;
        }
    }
}

TEST_P(InverseWeights, ComponentCutByThePatchCountsItsVoxelsInside) {
    // A component of 4 voxels of which the patch of 8 holds 2; label 7 is that of the whole scan.
    const Labels patch = {0, 0, 0, 0, 0, 0, 7, 7};
    const Weighted found = compute_weights(GetParam(), patch, {1, 1, 2, 2, 2}, 9);
    EXPECT_EQ(found.table[7], 2.0f);  // 8 / (2 * 2)
    EXPECT_EQ(found.table[0], 1.0f);  // 8 / (2 * 6), clipped from below
    EXPECT_EQ(found.table[3], 0.0f) << "a label that does not occur";
}

TEST_P(InverseWeights, PatchWithoutBackgroundCountsOneComponentLess) {
    const Labels patch = {1, 1, 1, 1, 1, 1, 2, 2};
    const Weighted found = compute_weights(GetParam(), patch, {1, 1, 2, 2, 2}, 3);
    EXPECT_EQ(found.table[2], 2.0f);  // 8 / (2 * 2): two labels, not three
}

TEST_P(InverseWeights, WeightsAreClipped) {
    Labels patch(4096, 0);
    patch[77] = 1;
    const Weighted found = compute_weights(GetParam(), patch, {1, 1, 16, 16, 16}, 2, {0.75f, 1000.0f});
    EXPECT_EQ(found.table[0], 0.75f);
    EXPECT_EQ(found.table[1], 1000.0f);
}

TEST_P(InverseWeights, ManyVoxelsOfLongAndShortRunsWeighAsDefined) {
    // More voxels than one round of the GPU's threads, in packs and without; a patch of one label; a table of one.
    for (const Shape& shape : {Shape{2, 1, 40, 96, 160}, Shape{1, 1, 37, 61, 73}}) {
        const Labels labels = random_labels(shape, 40, random_);
        const Weighted found = compute_weights(GetParam(), labels, shape, 5000);
        for (std::int64_t n = 0; n < shape.n; ++n) {
            const auto from = n * shape.voxels(), to = from + shape.voxels();
            const auto expected = weights_by_definition(Labels(labels.begin() + from, labels.begin() + to));
            ASSERT_TRUE(std::equal(expected.begin(), expected.end(), found.weights.begin() + from)) << "patch " << n;
        }
    }
    const Shape shape{1, 1, 9, 10, 12};
    for (const std::int32_t label : {0, 3})
        EXPECT_TRUE(compute_weights(GetParam(), Labels(1080, label), shape, 4).weights ==
                    std::vector<float>(1080, 1.0f));
    EXPECT_TRUE(compute_weights(GetParam(), Labels(1080, 0), shape, 1).weights == std::vector<float>(1080, 1.0f));
    EXPECT_EQ(compute_weights(GetParam(), {0}, {1, 1, 1, 1, 1}, 1).table[0], 1.0f);
}

TEST_P(InverseWeights, NoScheduleOfTheThreadsChangesTheWeights) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "schedules are the executor's";
    for (std::uint64_t schedule = 1; schedule <= 20; ++schedule) {
        simt::schedule_by(seed_ + schedule);
        const Shape shape{2, 1, 7, 9, 11 + static_cast<std::int64_t>(schedule % 3)};
        const Labels labels = random_labels(shape, 12, random_);
        const Weighted found = compute_weights(TestBackend::simt, labels, shape, 13),
                       expected = compute_weights(TestBackend::cpu, labels, shape, 13);
        ASSERT_TRUE(found.table == expected.table) << "schedule " << seed_ + schedule;
        ASSERT_TRUE(found.weights == expected.weights) << "schedule " << seed_ + schedule;
    }
}

TEST_P(InverseWeights, LabelsOutsideOfTheTableAreRefusedOrCountNowhere) {
    const Shape shape{1, 1, 1, 1, 3};
    if (GetParam() == TestBackend::cpu) {
        EXPECT_THROW(compute_weights(TestBackend::cpu, {0, 1, 3}, shape, 3), std::invalid_argument);
        EXPECT_THROW(compute_weights(TestBackend::cpu, {0, 1, -2}, shape, 3), std::invalid_argument);
        return;
    }
    for (const std::int32_t outside : {3, -2, INT32_MAX, INT32_MIN}) {
        const Weighted found = compute_weights(GetParam(), {0, 1, outside}, shape, 3);
        EXPECT_TRUE(found.table == (std::vector<float>{1.0f, 1.0f, 0.0f}));
        EXPECT_TRUE(std::isnan(found.weights[2]));
    }
}

INSTANTIATE_TEST_SUITE_P(On, InverseWeights, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
