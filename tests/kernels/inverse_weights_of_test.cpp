#include "kernels/components/inverse_weights_of.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>

#include "kernels/components/ignored.h"
#include "kernels/cpu/thread_pool.h"

namespace iwseg {
namespace {

/// By the definition, in double precision.
std::vector<double> by_definition(const std::vector<std::int32_t>& labels, double low, double high) {
    std::map<std::int32_t, double> sizes;
    double voxels = 0;
    for (const std::int32_t label : labels)
        if (label != kIgnoredLabel) ++sizes[label], ++voxels;
    std::vector<double> weights;
    for (const std::int32_t label : labels)
        weights.push_back(label == kIgnoredLabel
                              ? 0
                              : std::clamp(voxels / (static_cast<double>(sizes.size()) * sizes[label]), low, high));
    return weights;
}

TEST(InverseWeightsOf, AreThoseOfTheDefinition) {
    std::mt19937 random(std::random_device{}());
    ThreadPool pool(2);
    for (const Extent& shape : {Extent{5, 7, 9}, Extent{1, 1, 1}, Extent{3, 1, 130}}) {
        std::vector<std::int32_t> labels(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
        const auto most = static_cast<std::int32_t>(labels.size());
        for (std::int32_t& label : labels) {
            const auto drawn = random() % 16;
            label = drawn == 0   ? kIgnoredLabel
                    : drawn == 1 ? most
                    : drawn < 5  ? static_cast<std::int32_t>(random() % 3) % (most + 1)
                                 : 0;
        }
        const WeightClip clip{0.5f, 40};
        const std::vector<double> expected = by_definition(labels, clip.low, clip.high);
        const std::vector<float> weights = inverse_weights_of(labels, shape, clip);
        for (std::size_t v = 0; v < labels.size(); ++v)  // rounded to f32 once
            ASSERT_NEAR(weights[v], expected[v], 1e-6 * expected[v]) << v;
        EXPECT_TRUE(inverse_weights_of(labels, shape, clip, pool.stream()) == weights);
    }
    EXPECT_TRUE(inverse_weights_of({}, {0, 4, 4}).empty());
}

TEST(InverseWeightsOf, WhatCannotBeUsedIsRefused) {
    const std::vector<std::int32_t> labels(8);
    for (const std::int32_t bad : {-2, 9, std::numeric_limits<std::int32_t>::max()}) {
        std::vector<std::int32_t> with_bad = labels;
        with_bad[5] = bad;
        EXPECT_THROW(inverse_weights_of(with_bad, {2, 2, 2}), std::invalid_argument) << bad;
    }
    EXPECT_THROW(inverse_weights_of(labels, {2, 2, 3}), std::invalid_argument);
    EXPECT_THROW(inverse_weights_of(labels, {2, 2, -2}), std::invalid_argument);
    std::vector<float> short_by_one(7);
    EXPECT_THROW(inverse_weights_of(labels, {2, 2, 2}, {}, short_by_one), std::invalid_argument);
    for (const WeightClip& clip : {WeightClip{0, 1}, WeightClip{2, 1}, WeightClip{1, INFINITY}, WeightClip{NAN, 1}})
        EXPECT_THROW(inverse_weights_of(labels, {2, 2, 2}, clip), std::invalid_argument);
}

}  // namespace
}  // namespace iwseg
