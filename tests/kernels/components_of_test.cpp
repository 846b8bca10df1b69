// The call by which programs label a mask: against a plain flood fill, and what it refuses.
#include "kernels/components/components_of.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <stdexcept>
#include <string>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/masks.h"

namespace iwseg {
namespace {

void expect_as_flooded(const Mask& mask, const Extent& shape, Stream host = {}) {
    for (const int connectivity : kConnectivities) {
        SCOPED_TRACE(testing::Message() << "connectivity " << connectivity << ", shape " << shape[0] << " x "
                                        << shape[1] << " x " << shape[2]);
        const Labels expected = flood_fill(mask, {1, 1, shape[0], shape[1], shape[2]}, connectivity);
        const Components found = components_of(mask, shape, connectivity, host);
        EXPECT_TRUE(found.labels == expected);
        EXPECT_EQ(found.count, expected.empty() ? 0 : *std::max_element(expected.begin(), expected.end()));
        // Into the caller's memory, whatever was there.
        Labels labels(mask.size(), -5);
        EXPECT_EQ(components_of(mask, shape, connectivity, labels, host), found.count);
        EXPECT_TRUE(labels == expected);
    }
}

TEST(ComponentsOf, OddSizesAreLabelledAsFloodFillDoes) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    ThreadPool threads(3);
    std::uniform_int_distribution<std::int64_t> side(0, 12);
    for (int trial = 0; trial < 40; ++trial) {
        const Extent shape{2 * side(random) + 1, 2 * side(random) + 1, 2 * side(random) + 1};
        const Mask mask = random_mask({1, 1, shape[0], shape[1], shape[2]}, trial / 39.0, random);
        expect_as_flooded(mask, shape, trial % 2 ? threads.stream() : Stream{});
    }
}

TEST(ComponentsOf, LabelsTooManyForTheCacheAreTheSame) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    ThreadPool threads(3);
    const Extent shape{29, 375, 391};  // above 16 MB of labels; of no row a whole number of vectors
    const auto voxels = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
    ASSERT_GT(voxels * sizeof(std::int32_t), 16U << 20);
    Mask mask = random_mask({1, 1, shape[0], shape[1], shape[2]}, 0.08, random);
    std::fill(mask.begin() + static_cast<std::ptrdiff_t>(voxels / 2),
              mask.begin() + static_cast<std::ptrdiff_t>(voxels * 3 / 4), 0);  // rows without any
    const Labels expected = flood_fill(mask, {1, 1, shape[0], shape[1], shape[2]}, 26);
    for (const Stream host : {Stream{}, threads.stream()})
        for (std::size_t offset = 0; offset < 4; ++offset) {  // memory that begins anywhere
            Labels labels(voxels + 5, -5);
            components_of(mask, shape, 26, std::span(labels).subspan(offset, voxels), host);
            EXPECT_TRUE(
                std::equal(expected.begin(), expected.end(), labels.begin() + static_cast<std::ptrdiff_t>(offset)));
            EXPECT_EQ(std::count(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(offset), -5),
                      static_cast<std::ptrdiff_t>(offset));
            EXPECT_EQ(std::count(labels.end() - static_cast<std::ptrdiff_t>(5 - offset), labels.end(), -5),
                      static_cast<std::ptrdiff_t>(5 - offset));
        }
}

TEST(ComponentsOf, EmptyFullAndSingleVoxelsAreCountedRight) {
    for (const Extent& shape : {Extent{1, 1, 1}, Extent{5, 3, 7}, Extent{1, 1, 131}}) {
        const auto voxels = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
        EXPECT_EQ(components_of(Mask(voxels, 0), shape).count, 0);
        EXPECT_EQ(components_of(Mask(voxels, 255), shape).count, 1);
        Mask one(voxels, 0);
        one[voxels / 2] = 1;
        const Components found = components_of(one, shape);
        EXPECT_EQ(found.count, 1);
        EXPECT_EQ(std::count(found.labels.begin(), found.labels.end(), 1), 1);
        EXPECT_EQ(found.labels[voxels / 2], 1);
        for (const Mask& mask : {Mask(voxels, 0), Mask(voxels, 255), one}) expect_as_flooded(mask, shape);
    }
    EXPECT_EQ(components_of({}, {4, 0, 9}).count, 0) << "of no voxels";
}

TEST(ComponentsOf, BadInputIsRefusedInASentence) {
    const Mask mask(24, 1);
    Labels labels(24), few(23);
    const auto refusal = [&](auto&& call) {
        try {
            call();
        } catch (const std::invalid_argument& error) {
            return std::string(error.what());
        }
        return std::string("nothing was thrown");
    };
    EXPECT_EQ(refusal([&] { components_of(mask, {2, 3, 5}); }), "components_of: a mask of 24 voxels for a shape of 30");
    EXPECT_EQ(refusal([&] {
                  components_of(mask, {2, 3, 4}, 26, few);
              }),
              "components_of: labels of 23 voxels for a shape of 24");
    EXPECT_EQ(refusal([&] { components_of(mask, {2, 3, 4}, 8); }), "components_of: connectivity is 6, 18 or 26, not 8");
    EXPECT_EQ(refusal([&] {
                  components_of(mask, {2, -3, -4});
              }),
              "components_of: a shape of 2 x -3 x -4 voxels, expected none below 0");
    // Products that 64 bits do not hold.
    for (const Extent& shape :
         {Extent{2048, 1024, 1024}, Extent{INT64_MAX, INT64_MAX, 2}, Extent{1, INT64_MAX, INT64_MAX}})
        EXPECT_NE(refusal([&] { components_of(mask, shape); }).find("expected at most 2147483647 in all"),
                  std::string::npos);
    EXPECT_EQ(components_of(mask, {2, 3, 4}, 6, labels), 1);
}

}  // namespace
}  // namespace iwseg
