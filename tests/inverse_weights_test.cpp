#include "kernels/inverse_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "engine/safetensors.h"
#include "kernels/components.h"
#include "tests/golden.h"

namespace iwseg {
namespace {

using Labels = std::vector<std::int32_t>;

struct Weighted {
    std::vector<float> table, weights;
};

Weighted weigh(const Labels& labels, const Shape& shape, std::int64_t stride, WeightClip clip = {}) {
    Weighted result{std::vector<float>(shape.n * stride + 1, -7.0f), std::vector<float>(labels.size() + 1, -7.0f)};
    const View view{const_cast<std::int32_t*>(labels.data()), shape, Type::i32};
    cpu::inverse_weight_table({}, view, result.table.data(), stride, clip);
    cpu::look_up_weights({}, view, result.table.data(), stride, {result.weights.data(), shape, Type::f32});
    EXPECT_EQ(result.table.back(), -7.0f) << "wrote behind the table";
    EXPECT_EQ(result.weights.back(), -7.0f) << "wrote behind the weights";
    result.table.pop_back();
    result.weights.pop_back();
    return result;
}

/// The definition, voxel by voxel, for one patch.
std::vector<float> weights_by_definition(const Labels& labels, WeightClip clip = {}) {
    std::map<std::int32_t, double> sizes;
    for (const std::int32_t l : labels) ++sizes[l];
    std::vector<float> weights;
    for (const std::int32_t l : labels)
        weights.push_back(static_cast<float>(
            std::clamp<double>(static_cast<double>(labels.size()) / (static_cast<double>(sizes.size()) * sizes[l]),
                               clip.low, clip.high)));
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

}  // namespace

TEST(InverseWeights, GoldenMasksGiveTheOriginalsLabelsAndWeightsExactly) {
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
        cpu::label_components({}, {voxels.data(), shape, Type::u8}, {labels.data(), shape, Type::i32}, &count, 26);
        EXPECT_TRUE(labels == golden.at(key + ".cc").as_i32());
        EXPECT_TRUE(weigh(labels, shape, count + 1).weights == golden.at(key + ".weight").as_f32());
        ++cases;
    }
    EXPECT_GE(cases, 5);  // 9 where all of them are
}

TEST(InverseWeights, RandomBatchesWeighAsDefined) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    for (int trial = 0; trial < 20; ++trial) {
        const Shape shape{1 + trial % 3, 1, 5 + trial, 13, 17};
        const Labels labels = random_labels(shape, trial * 3, random);
        const Weighted found = weigh(labels, shape, trial * 3 + 1 + trial % 2);
        for (std::int64_t n = 0; n < shape.n; ++n) {
            const auto from = n * shape.voxels(), to = from + shape.voxels();
            const auto expected = weights_by_definition(Labels(labels.begin() + from, labels.begin() + to));
            ASSERT_TRUE(std::equal(expected.begin(), expected.end(), found.weights.begin() + from)) << "patch " << n;
        }
    }
}

TEST(InverseWeights, ComponentCutByThePatchCountsItsVoxelsInside) {
    // A component of 4 voxels of which the patch of 8 holds 2; label 7 is that of the whole scan.
    const Labels patch = {0, 0, 0, 0, 0, 0, 7, 7};
    const Weighted found = weigh(patch, {1, 1, 2, 2, 2}, 9);
    EXPECT_EQ(found.table[7], 2.0f);              // 8 / (2 * 2)
    EXPECT_EQ(found.table[0], 1.0f);              // 8 / (2 * 6), clipped from below
    EXPECT_EQ(found.table[3], 0.0f) << "a label that does not occur";
}

TEST(InverseWeights, PatchWithoutBackgroundCountsOneComponentLess) {
    const Labels patch = {1, 1, 1, 1, 1, 1, 2, 2};
    const Weighted found = weigh(patch, {1, 1, 2, 2, 2}, 3);
    EXPECT_EQ(found.table[2], 2.0f);  // 8 / (2 * 2): two labels, not three
}

TEST(InverseWeights, WeightsAreClipped) {
    Labels patch(4096, 0);
    patch[77] = 1;
    const Weighted found = weigh(patch, {1, 1, 16, 16, 16}, 2, {0.75f, 1000.0f});
    EXPECT_EQ(found.table[0], 0.75f);
    EXPECT_EQ(found.table[1], 1000.0f);
}

TEST(InverseWeights, LabelsOutsideOfTheTableAreRefused) {
    EXPECT_THROW(weigh({0, 3}, {1, 1, 1, 1, 2}, 3), std::invalid_argument);
    EXPECT_THROW(weigh({0, -1}, {1, 1, 1, 1, 2}, 3), std::invalid_argument);
}

}  // namespace iwseg
