#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "evaluation/case_metrics.h"
#include "evaluation/instances.h"
#include "tests/support/golden.h"

/// Small scans for the tests of metrics, and those that the public packages measured
/// (tests/evaluation/metrics_golden.py).
namespace iwseg {

struct MetricScan {
    std::array<std::int64_t, 3> shape{};
    std::vector<std::uint8_t> target;
    std::vector<float> probability;

    explicit MetricScan(const std::array<std::int64_t, 3>& size)
        : shape(size), target(size[0] * size[1] * size[2]), probability(target.size(), 0.1f) {}

    std::int64_t at(std::int64_t d, std::int64_t h, std::int64_t w) const { return (d * shape[1] + h) * shape[2] + w; }
    Instances instances() const {
        return find_instances({shape[0], shape[1], shape[2], target.data(), probability.data(), nullptr});
    }
    /// Voxels first up to but not including last along W, in row (0, 0).
    void lesion(std::int64_t first, std::int64_t last) { std::fill(target.begin() + first, target.begin() + last, 1); }
    void detect(std::int64_t first, std::int64_t last, float sure) {
        std::fill(probability.begin() + first, probability.begin() + last, sure);
    }
};

/// Cubes of up to four voxels a side at random places, on both sides.
inline MetricScan random_metric_scan(std::mt19937& random) {
    const auto below = [&](std::int64_t n) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    };
    MetricScan scan({1 + below(9), 1 + below(11), 1 + below(13)});
    for (int box = static_cast<int>(below(12)); box > 0; --box) {
        std::array<std::int64_t, 3> first, last;
        for (int axis = 0; axis < 3; ++axis) {
            first[axis] = below(scan.shape[axis]);
            last[axis] = std::min(scan.shape[axis], first[axis] + 1 + below(4));
        }
        const bool lesion = below(2) == 0;
        const float sure = 0.51f + 0.01f * static_cast<float>(below(40));
        for (std::int64_t d = first[0]; d < last[0]; ++d)
            for (std::int64_t h = first[1]; h < last[1]; ++h)
                for (std::int64_t w = first[2]; w < last[2]; ++w) {
                    if (lesion) scan.target[scan.at(d, h, w)] = 1;
                    if (!lesion || below(3)) scan.probability[scan.at(d, h, w)] = sure;
                }
    }
    return scan;
}

inline const nlohmann::json& metrics_golden() {
    static const nlohmann::json document = nlohmann::json::parse(read_text(kept_golden("metrics.json")));
    return document;
}

/// A scan of the golden file: a character a voxel, its place in 0123456789 (no lesion) or abcdefghij (lesion) n, and
/// the probability (2 n + 1) / 20.
inline MetricScan golden_scan(const nlohmann::json& golden) {
    MetricScan scan(golden.at("shape").get<std::array<std::int64_t, 3>>());
    const std::string voxels = golden.at("voxels");
    for (std::size_t v = 0; v < voxels.size(); ++v) {
        scan.target[v] = voxels[v] >= 'a';
        const int level = scan.target[v] ? voxels[v] - 'a' : voxels[v] - '0';
        scan.probability[v] = static_cast<float>((2 * level + 1) / 20.0);
    }
    return scan;
}

inline std::array<double, 3> golden_spacing(const nlohmann::json& golden) {
    return golden.at("spacing").get<std::array<double, 3>>();
}

inline bool has_metric(const CaseMetrics& metrics, const std::string& metric) {
    for (const MetricValue& value : metrics.scan)
        if (value.metric == metric) return true;
    return false;
}

/// Of a metric of whole scans that was asked for.
inline double metric_value(const CaseMetrics& metrics, const std::string& metric, const std::string& key) {
    for (const MetricValue& value : metrics.scan)
        if (value.metric == metric && value.key == key) return value.value;
    throw std::out_of_range(metric + " has no " + key);
}

/// null is not a number, "inf" infinity.
inline double golden_number(const nlohmann::json& value) {
    if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (value.is_string()) return std::numeric_limits<double>::infinity();
    return value.get<double>();
}

}  // namespace iwseg

/// Sums and quotients of a few doubles in another order than NumPy's; equal where a value is not finite.
#define EXPECT_METRIC(expected, value)                          \
    do {                                                        \
        const double wanted = ::iwseg::golden_number(expected); \
        if (std::isnan(wanted))                                 \
            EXPECT_TRUE(std::isnan(value));                     \
        else if (std::isinf(wanted))                            \
            EXPECT_EQ(wanted, value);                           \
        else                                                    \
            EXPECT_NEAR(wanted, value, 1e-9);                   \
    } while (false)
