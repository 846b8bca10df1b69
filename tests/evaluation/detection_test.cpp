#include "kernels/components/detection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "base/error.h"
#include "evaluation/instances.h"

namespace iwseg {
namespace {

/// Every voxel's component grown by brute force: corner neighbours of equal side of the threshold.
std::vector<std::uint8_t> detect_by_flooding(const std::vector<float>& probability,
                                             const std::array<std::int64_t, 3>& shape, double volume,
                                             const DetectionRule& rule) {
    const auto [d, h, w] = shape;
    std::vector<std::uint8_t> mask(probability.size()), seen(probability.size());
    for (std::size_t start = 0; start < mask.size(); ++start) {
        if (seen[start] || !(probability[start] > rule.threshold)) continue;
        std::vector<std::size_t> component{start};
        seen[start] = 1;
        for (std::size_t i = 0; i < component.size(); ++i) {
            const auto v = static_cast<std::int64_t>(component[i]);
            for (std::int64_t z = v / (h * w) - 1; z <= v / (h * w) + 1; ++z)
                for (std::int64_t y = v / w % h - 1; y <= v / w % h + 1; ++y)
                    for (std::int64_t x = v % w - 1; x <= v % w + 1; ++x) {
                        if (z < 0 || y < 0 || x < 0 || z >= d || y >= h || x >= w) continue;
                        const auto near = static_cast<std::size_t>((z * h + y) * w + x);
                        if (seen[near] || !(probability[near] > rule.threshold)) continue;
                        seen[near] = 1;
                        component.push_back(near);
                    }
        }
        if (static_cast<double>(component.size()) * volume >= rule.min_volume)
            for (const std::size_t v : component) mask[v] = 1;
    }
    return mask;
}

TEST(Detection, MasksAreTheVoxelsAboveTheThresholdWithoutSmallComponents) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (const DetectionRule rule : {DetectionRule{}, DetectionRule{0.8f, 0}, DetectionRule{0.85f, 5.25},
                                     DetectionRule{0.9f, 13}, DetectionRule{0.7f, 1e9}}) {
        const std::array<std::int64_t, 3> shape{5, 9, 13};
        const std::array<double, 3> spacing{0.7, 1.5, 2.5};  // 2.625 mm³ a voxel: the third rule keeps two voxels
        std::vector<float> probability(5 * 9 * 13);
        for (float& p : probability) p = static_cast<float>(random() % 1000) / 999;
        EXPECT_EQ(detect(probability.data(), shape, spacing, rule),
                  detect_by_flooding(probability, shape, 2.625, rule));
    }
}

TEST(Detection, TheDefaultIsWhatRecordsAreMadeOf) {
    std::mt19937 random(std::random_device{}());
    const std::array<std::int64_t, 3> shape{4, 6, 7};
    std::vector<float> probability(4 * 6 * 7);
    for (float& p : probability) p = static_cast<float>(random() % 5) / 4;  // one half among them: not above itself
    const std::vector<std::uint8_t> target(probability.size());
    const Instances instances = find_instances({4, 6, 7, target.data(), probability.data(), nullptr});
    const std::vector<std::uint8_t> mask = detect(probability.data(), shape, {1, 1, 1}, {});
    for (std::size_t v = 0; v < mask.size(); ++v) EXPECT_EQ(mask[v] != 0, instances.detection_labels[v] != 0) << v;
}

TEST(Detection, ARuleOutOfRangeIsRefusedByItsName) {
    const auto sentence = [](const DetectionRule& rule) -> std::string {
        try {
            require_usable(rule, "--threshold", "--min-volume");
        } catch (const InputError& error) {
            return error.what();
        }
        return "";
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const float threshold : {0.0f, 1.0f, -0.2f, 50.0f, nan})
        EXPECT_TRUE(sentence({threshold, 0}).starts_with("--threshold")) << threshold;
    for (const double volume : {-1.0, std::numeric_limits<double>::infinity(), static_cast<double>(nan)})
        EXPECT_TRUE(sentence({0.5f, volume}).starts_with("--min-volume")) << volume;
    EXPECT_EQ(sentence({0.999f, 0}), "");
    EXPECT_EQ(sentence({1e-6f, 1e6}), "");
}

}  // namespace
}  // namespace iwseg
