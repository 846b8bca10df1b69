#include "kernels/component_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "engine/safetensors.h"
#include "kernels/components.h"
#include "tests/backends.h"
#include "tests/golden.h"
#include "tests/kernel_tensor.h"
#include "tests/masks.h"

namespace iwseg {
namespace {

/// The weight of each voxel, as a loss looks it up.
std::vector<float> weigh(Backend backend, const Mask& mask, const Shape& shape, int connectivity, WeightClip clip = {}) {
    const Kernels& device = kernels_of(backend);
    const std::int64_t stride = component_label_bound(shape, connectivity);
    const KernelArray<std::uint8_t> on_device(device, mask);
    const KernelArray<std::int32_t> labels(device, shape.elements() + 1, -7);  // the last is a sentinel
    const KernelArray<float> table(device, shape.n * stride + 1, -7.0f);
    const auto scratch = kernel_scratch(device, device.component_weights_scratch_bytes(shape, connectivity));
    device.component_weights({}, {on_device.data(), shape, Type::u8}, connectivity, clip,
                             {labels.data(), shape, Type::i32}, table.data(), scratch.data());
    const Labels found = labels.host();
    const std::vector<float> weight_of = table.host();
    EXPECT_EQ(found.back(), -7) << "wrote behind the labels";
    EXPECT_EQ(weight_of.back(), -7.0f) << "wrote behind the table";
    if (backend == Backend::simt) simt::check_sentinels();
    std::vector<float> weights;
    for (std::size_t v = 0; v < mask.size(); ++v) {
        const std::int64_t label = mask[v] != 0 ? found[v] : 0;
        if (label < (mask[v] != 0) || label >= stride) throw std::logic_error("a label outside of the bound");
        weights.push_back(weight_of[static_cast<std::int64_t>(v) / shape.voxels() * stride + label]);
    }
    return weights;
}

/// The definition, by flood fill and voxel by voxel.
std::vector<float> by_definition(const Mask& mask, const Shape& shape, int connectivity, WeightClip clip = {}) {
    std::vector<float> weights;
    const Shape one{1, 1, shape.d, shape.h, shape.w};
    for (std::int64_t n = 0; n < shape.n; ++n) {
        const auto from = mask.begin() + n * one.voxels();
        const Labels labels = flood_fill(Mask(from, from + one.voxels()), one, connectivity);
        std::map<std::int32_t, double> sizes;
        for (const std::int32_t l : labels) ++sizes[l];
        for (const std::int32_t l : labels)
            weights.push_back(static_cast<float>(
                std::clamp<double>(static_cast<double>(labels.size()) / (static_cast<double>(sizes.size()) * sizes[l]),
                                   clip.low, clip.high)));
    }
    return weights;
}

class ComponentWeights : public testing::TestWithParam<Backend> {
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
            ASSERT_TRUE(weigh(GetParam(), mask, shape, connectivity) == by_definition(mask, shape, connectivity))
                << "trial " << trial << ", connectivity " << connectivity;
    }
}

TEST_P(ComponentWeights, EmptyFullAndSingleVoxelsWeighAsDefined) {
    for (const Shape& shape : {Shape{1, 1, 1, 1, 1}, Shape{2, 1, 4, 3, 32}, Shape{1, 1, 3, 3, 3}})
        for (const int connectivity : kConnectivities) {
            Mask mask(shape.elements(), 0);
            EXPECT_TRUE(weigh(GetParam(), mask, shape, connectivity) == by_definition(mask, shape, connectivity));
            mask.back() = 3;
            EXPECT_TRUE(weigh(GetParam(), mask, shape, connectivity) == by_definition(mask, shape, connectivity));
            std::fill(mask.begin(), mask.end(), 1);
            EXPECT_TRUE(weigh(GetParam(), mask, shape, connectivity) == by_definition(mask, shape, connectivity));
        }
}

TEST_P(ComponentWeights, PatchWithoutBackgroundCountsOneComponentLess) {
    // Connectivity 26 cannot part a mask without background, and so weighs it 1; clipped from further down.
    const Shape shape{1, 1, 2, 2, 16};
    EXPECT_TRUE(weigh(GetParam(), Mask(64, 1), shape, 26, {0.25f, 10.0f}) == std::vector<float>(64, 1.0f));
}

TEST_P(ComponentWeights, WeightsAreClipped) {
    const Shape shape{1, 1, 16, 16, 16};
    Mask mask(4096, 0);
    mask[77] = 1;
    const std::vector<float> found = weigh(GetParam(), mask, shape, 26, {0.75f, 1000.0f});
    EXPECT_EQ(found[0], 0.75f);
    EXPECT_EQ(found[77], 1000.0f);
}

TEST_P(ComponentWeights, GoldenMasksWeighAsTheOriginal) {
    int cases = 0;
    for (const auto golden = read_safetensors(golden_file("inverse_weights.golden.safetensors")); const auto& [name, stored] : golden) {
        if (!name.ends_with(".mask")) continue;
        const std::string key = name.substr(0, name.size() - 5);
        SCOPED_TRACE(key);
        const Shape shape{1, 1, stored.shape[0], stored.shape[1], stored.shape[2]};
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(stored.bytes.data());
        const Mask mask(bytes, bytes + stored.bytes.size());
        EXPECT_TRUE(weigh(GetParam(), mask, shape, 26) == golden.at(key + ".weight").as_f32());
        ++cases;
    }
    EXPECT_GE(cases, 5);
}

TEST_P(ComponentWeights, NoScheduleOfTheThreadsChangesTheWeights) {
    if (GetParam() != Backend::simt) GTEST_SKIP() << "schedules are the executor's";
    const Shape comb{1, 1, 2, 10, 48}, batch{2, 1, 6, 7, 19};
    for (std::uint64_t schedule = 1; schedule <= 20; ++schedule) {
        simt::schedule_by(seed_ + schedule);
        for (const int connectivity : kConnectivities) {
            SCOPED_TRACE(testing::Message() << "schedule " << seed_ + schedule << ", connectivity " << connectivity);
            const Mask teeth = comb_mask(comb, true), noise = random_mask(batch, 0.15, random_);
            ASSERT_TRUE(weigh(Backend::simt, teeth, comb, connectivity) == by_definition(teeth, comb, connectivity));
            ASSERT_TRUE(weigh(Backend::simt, noise, batch, connectivity) == by_definition(noise, batch, connectivity));
        }
    }
}

TEST_P(ComponentWeights, RealLesionsWeighAsDefined) {
    if (!std::filesystem::exists(lesion_mask_folder())) GTEST_SKIP() << "no folder " << lesion_mask_folder() << " here";
    Shape shape;
    const Mask mask = middle_of_lesions(4, shape);
    EXPECT_TRUE(weigh(GetParam(), mask, shape, 26) == by_definition(mask, shape, 26));
}

TEST_P(ComponentWeights, WrongConnectivitiesAndTypesAreRefused) {
    const Kernels& device = kernels_of(GetParam());
    const Shape shape{1, 1, 2, 2, 2};
    Mask mask(8);
    Labels labels(8);
    float table[9];
    const View from{mask.data(), shape, Type::u8};
    EXPECT_THROW(device.component_weights({}, from, 4, {}, {labels.data(), shape, Type::i32}, table, nullptr), std::invalid_argument);
    EXPECT_THROW(device.component_weights({}, from, 6, {}, {labels.data(), shape, Type::f32}, table, nullptr), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, ComponentWeights, testing::Values(Backend::cpu, Backend::simt, Backend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
