#include "evaluation/lesion_size.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "evaluation/froc.h"
#include "evaluation/instances.h"
#include "evaluation/metrics.h"

namespace iwseg {
namespace {

/// Records of a scan with a lesion and a detection, which do not touch.
std::vector<Record> records_of(std::int64_t lesion, std::int64_t detection, std::array<double, 3> spacing) {
    std::vector<std::uint8_t> target(200);
    std::vector<float> probability(200);
    for (std::int64_t v = 0; v < lesion; ++v) target[v] = 1;
    for (std::int64_t v = 0; v < detection; ++v) probability[100 + v] = 1;
    return lesion_records({1, 1, 200, target.data(), probability.data(), nullptr, nullptr, spacing});
}

TEST(LesionSize, DiametersInMmAreThoseOfTheBallOfEqualVolume) {
    const std::vector<Record> records = records_of(8, 0, {5, 0.5, 0.5});  // of 1.25 mm3 each
    EXPECT_NEAR(records[0].diameter, std::cbrt(8 * 6 / 3.14159265358979), 1e-9);
    EXPECT_NEAR(records[0].diameter_mm, std::cbrt(10 * 6 / 3.14159265358979), 1e-9);
    EXPECT_EQ(records_of(8, 0, {})[0].diameter_mm, 0);  // not known
}

TEST(LesionSize, ScansOfDifferentVoxelsAreSortedBySizeInMm) {
    // By voxels the lesion of "thick" is the smaller one, by volume that of "thin".
    const Records records{{"thick", records_of(4, 0, {1, 1, 6})}, {"thin", records_of(9, 0, {1, 1, 1})}};
    ASSERT_EQ(size_unit(records), SizeUnit::mm);
    const Froc froc = compute_froc(records, {.draws = 10});
    EXPECT_EQ(froc.size_unit, SizeUnit::mm);
    ASSERT_EQ(froc.strata.size(), 2u);
    EXPECT_NEAR(froc.strata[0].diameter_high, records.at("thin")[0].diameter, 1e-12);
    EXPECT_NEAR(froc.strata[1].diameter_high, records.at("thick")[0].diameter * std::cbrt(6.0), 1e-12);
    EXPECT_EQ(count_lesions(records.at("thick"), {3, SizeUnit::mm}).small_lesions, 0);
    EXPECT_EQ(count_lesions(records.at("thick"), {3, SizeUnit::voxels}).small_lesions, 1);
}

TEST(LesionSize, OneRecordWithoutMmPutsAllInVoxels) {
    const Records records{{"a", records_of(4, 2, {1, 1, 6})}, {"b", records_of(9, 0, {})}};
    EXPECT_EQ(size_unit(records), SizeUnit::voxels);
    EXPECT_EQ(compute_froc(records, {.draws = 10}).size_unit, SizeUnit::voxels);
}

TEST(VolumeRatio, IsPredictedOverTrueVolumeInMm) {
    const Records records{{"a", records_of(10, 30, {1, 1, 4})}, {"b", records_of(20, 5, {1, 1, 1})}};
    // Of cubes of diameters: rounding alone.
    EXPECT_NEAR(volume_ratio(records.at("a"), SizeUnit::voxels), 3, 1e-12);
    EXPECT_NEAR(volume_ratio(records), (30 * 4 + 5) / (10 * 4 + 20.0), 1e-12);
    EXPECT_EQ(volume_ratio(records_of(0, 3, {}), SizeUnit::voxels), std::numeric_limits<double>::infinity());
    EXPECT_TRUE(std::isnan(volume_ratio(std::vector<Record>{}, SizeUnit::voxels)));
    EXPECT_FALSE(covers_too_much(5));
    EXPECT_TRUE(covers_too_much(5.01));
    EXPECT_EQ(volume_ratio_text(12.34), "12.3 (over 5)");
    EXPECT_EQ(volume_ratio_text(1.266), "1.27");
}

}  // namespace
}  // namespace iwseg
