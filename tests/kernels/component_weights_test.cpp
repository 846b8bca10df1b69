#include "kernels/components/component_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "engine/safetensors.h"
#include "kernels/components/components.h"
#include "tests/support/backends.h"
#include "tests/support/component_fixture.h"
#include "tests/support/golden.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

class ComponentWeights : public testing::TestWithParam<TestBackend> {
  protected:
    ComponentWeights()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    void TearDown() override { simt::schedule_by(0); }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

}  // namespace

// Weights are compared exactly: sizes are integers, and one formula in double makes weights of them everywhere.
TEST_P(ComponentWeights, RandomMasksOfAnyDensityWeighAsDefined) {
    for (int trial = 0; trial < 40; ++trial) {
        std::uniform_int_distribution<int> side(1, 14);
        const std::int64_t width = trial % 2 == 0 ? 16 * (1 + trial % 5) : 1 + random_() % 70;
        const Shape shape{1 + trial % 3, 1, side(random_), side(random_), width};
        const Mask mask = random_mask(shape, trial < 20 ? trial / 100.0 : (trial - 19) / 20.0, random_);
        for (const int connectivity : kConnectivities)
            ASSERT_TRUE(voxel_weights(GetParam(), mask, shape, connectivity) ==
                        by_definition(mask, shape, connectivity))
                << "trial " << trial << ", connectivity " << connectivity;
    }
}

TEST_P(ComponentWeights, EmptyFullAndSingleVoxelsWeighAsDefined) {
    for (const Shape& shape : {Shape{1, 1, 1, 1, 1}, Shape{2, 1, 4, 3, 32}, Shape{1, 1, 3, 3, 3}})
        for (const int connectivity : kConnectivities) {
            Mask mask(shape.elements(), 0);
            EXPECT_TRUE(voxel_weights(GetParam(), mask, shape, connectivity) ==
                        by_definition(mask, shape, connectivity));
            mask.back() = 3;
            EXPECT_TRUE(voxel_weights(GetParam(), mask, shape, connectivity) ==
                        by_definition(mask, shape, connectivity));
            std::fill(mask.begin(), mask.end(), 1);
            EXPECT_TRUE(voxel_weights(GetParam(), mask, shape, connectivity) ==
                        by_definition(mask, shape, connectivity));
        }
}

TEST_P(ComponentWeights, PatchWithoutBackgroundCountsOneComponentLess) {
    // Connectivity 26 cannot part a mask without background, and so weighs it 1; clipped from further down.
    const Shape shape{1, 1, 2, 2, 16};
    EXPECT_TRUE(voxel_weights(GetParam(), Mask(64, 1), shape, 26, {0.25f, 10.0f}) == std::vector<float>(64, 1.0f));
}

TEST_P(ComponentWeights, WeightsAreClipped) {
    const Shape shape{1, 1, 16, 16, 16};
    Mask mask(4096, 0);
    mask[77] = 1;
    const std::vector<float> found = voxel_weights(GetParam(), mask, shape, 26, {0.75f, 1000.0f});
    EXPECT_EQ(found[0], 0.75f);
    EXPECT_EQ(found[77], 1000.0f);
}

TEST_P(ComponentWeights, GoldenMasksWeighAsTheOriginal) {
    int cases = 0;
    for (const auto golden = read_safetensors(golden_file("inverse_weights.golden.safetensors"));
         const auto& [name, stored] : golden) {
        if (!name.ends_with(".mask")) continue;
        const std::string key = name.substr(0, name.size() - 5);
        SCOPED_TRACE(key);
        const Shape shape{1, 1, stored.shape[0], stored.shape[1], stored.shape[2]};
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(stored.bytes.data());
        const Mask mask(bytes, bytes + stored.bytes.size());
        EXPECT_TRUE(voxel_weights(GetParam(), mask, shape, 26) == golden.at(key + ".weight").as_f32());
        ++cases;
    }
    EXPECT_GE(cases, 5);
}

TEST_P(ComponentWeights, NoScheduleOfTheThreadsChangesTheWeights) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "schedules are the executor's";
    const Shape comb{1, 1, 2, 10, 48}, batch{2, 1, 6, 7, 19};
    for (std::uint64_t schedule = 1; schedule <= 20; ++schedule) {
        simt::schedule_by(seed_ + schedule);
        for (const int connectivity : kConnectivities) {
            SCOPED_TRACE(testing::Message() << "schedule " << seed_ + schedule << ", connectivity " << connectivity);
            const Mask teeth = comb_mask(comb, true), noise = random_mask(batch, 0.15, random_);
            ASSERT_TRUE(voxel_weights(TestBackend::simt, teeth, comb, connectivity) ==
                        by_definition(teeth, comb, connectivity));
            ASSERT_TRUE(voxel_weights(TestBackend::simt, noise, batch, connectivity) ==
                        by_definition(noise, batch, connectivity));
        }
    }
}

TEST_P(ComponentWeights, WrongConnectivitiesAndTypesAreRefused) {
    const Backend& device = backend_of(GetParam());
    const Shape shape{1, 1, 2, 2, 2};
    Mask mask(8);
    Labels labels(8);
    float table[9];
    const View from{mask.data(), shape, Type::u8};
    EXPECT_THROW(device.component_weights({}, from, 4, {}, {labels.data(), shape, Type::i32}, table, nullptr),
                 std::invalid_argument);
    EXPECT_THROW(device.component_weights({}, from, 6, {}, {labels.data(), shape, Type::f32}, table, nullptr),
                 std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, ComponentWeights, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
