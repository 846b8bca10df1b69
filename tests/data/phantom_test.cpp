#include "data/phantom.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>
#include <string>

#include "base/error.h"
#include "data/dataset.h"

namespace iwseg {
namespace {

TEST(Phantom, SameSeedGivesTheSameScanAndAnotherAnother) {
    const unsigned seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    const PhantomScan first = make_phantom(seed, 3, 48), again = make_phantom(seed, 3, 48);
    EXPECT_EQ(first.image.voxels, again.image.voxels);
    EXPECT_EQ(first.target.voxels, again.target.voxels);
    EXPECT_NE(first.image.voxels, make_phantom(seed, 4, 48).image.voxels);
    EXPECT_NE(first.image.voxels, make_phantom(seed + 1, 3, 48).image.voxels);
}

TEST(Phantom, LesionsSpanThreeDecadesAndStandOutFromTheirSurroundings) {
    const unsigned seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    std::vector<std::int64_t> sizes;
    int without = 0;
    for (std::int64_t number = 0; number < 10; ++number) {
        const PhantomScan scan = make_phantom(seed, number, 96);
        const ComponentList lesions = list_components(scan.target.voxels, scan.target.geometry.shape, 26);
        without += lesions.size() == 0;
        for (std::int64_t c = 0; c < lesions.size(); ++c) sizes.push_back(lesions.offsets[c + 1] - lesions.offsets[c]);
        // Lesions are brighter than tissue of 45 HU, as a whole; noise has 14.
        double sum = 0;
        for (const std::uint32_t v : lesions.voxels) sum += scan.image.voxels[v];
        EXPECT_TRUE(lesions.size() == 0 || sum / static_cast<double>(lesions.voxels.size()) > 80.0) << number;
    }
    EXPECT_EQ(without, 1);
    ASSERT_GT(sizes.size(), 50u);
    std::sort(sizes.begin(), sizes.end());
    EXPECT_LE(sizes.front(), 3);
    EXPECT_GE(sizes.back(), 1000);
    EXPECT_GT(sizes[sizes.size() / 2], 10);
    EXPECT_LT(sizes[sizes.size() / 2], 150);
}

/// Mean brightness of the lesions of at most, or more than, so many voxels over their surroundings of 45 HU.
double mean_contrast(const PhantomScan& scan, bool small) {
    const ComponentList lesions = list_components(scan.target.voxels, scan.target.geometry.shape, 26);
    double sum = 0, voxels = 0;
    for (std::int64_t c = 0; c < lesions.size(); ++c) {
        if ((lesions.offsets[c + 1] - lesions.offsets[c] <= 30) != small) continue;
        for (std::int64_t i = lesions.offsets[c]; i < lesions.offsets[c + 1]; ++i)
            sum += scan.image.voxels[lesions.voxels[i]] - 45;
        voxels += static_cast<double>(lesions.offsets[c + 1] - lesions.offsets[c]);
    }
    return voxels == 0 ? std::nan("") : sum / voxels;
}

TEST(Phantom, SmallLesionsOfFadingScansAreFainterAndStillStandOut) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    double small = 0, large = 0;
    int with_small = 0, with_large = 0;
    for (std::int64_t number = 0; number < 7; ++number) {
        const PhantomScan scan = make_phantom(seed, number, 96, PhantomKind::fading);
        EXPECT_EQ(scan.target.voxels, make_phantom(seed, number, 96, PhantomKind::fading).target.voxels);
        if (const double mean = mean_contrast(scan, true); !std::isnan(mean)) small += mean, ++with_small;
        if (const double mean = mean_contrast(scan, false); !std::isnan(mean)) large += mean, ++with_large;
    }
    ASSERT_GT(with_small, 0);
    ASSERT_GT(with_large, 0);
    // Noise is of 14 HU.
    EXPECT_GT(small / with_small, 35.0);
    EXPECT_GT(large / with_large, small / with_small + 25.0);
}

TEST(Phantom, ScansOfTheStudyAreWhatTheyWere) {
    // The sums that the generator gave when docs/study.md was written.
    const PhantomScan scan = make_phantom(7, 3, 64);
    std::int64_t sum = 0, lesion = 0;
    for (const std::int16_t value : scan.image.voxels) sum += value;
    for (const std::uint8_t voxel : scan.target.voxels) lesion += voxel;
    EXPECT_EQ(sum, -90001639);
    EXPECT_EQ(lesion, 489);
}

class PhantomDataset : public testing::Test {
  protected:
    ~PhantomDataset() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("iwseg_phantom_" + std::to_string(std::random_device{}()));
};

TEST_F(PhantomDataset, IsOpenedAndPreparedLikeAnyOther) {
    std::int64_t reported = 0;
    write_phantom_dataset({folder_, 4, 48, 7, 3}, [&](std::int64_t done, std::int64_t all) {
        EXPECT_EQ(done, ++reported);
        EXPECT_EQ(all, 4);
    });
    EXPECT_EQ(reported, 4);
    const Dataset dataset = open_dataset(folder_);
    ASSERT_EQ(dataset.cases.size(), 4u);
    const PhantomScan made = make_phantom(7, 2, 48);
    const PreparedCase scan = prepare_case(dataset, dataset.cases[2], {});
    EXPECT_TRUE(std::equal(scan.image.begin(), scan.image.end(), made.image.voxels.begin()));
    EXPECT_EQ(static_cast<std::int64_t>(scan.lesions.voxels.size()),
              std::count(made.target.voxels.begin(), made.target.voxels.end(), 1));
    EXPECT_THROW(write_phantom_dataset({folder_, 4, 48, 7, 1}), InputError);
}

TEST_F(PhantomDataset, UnusableOptionsAreRefusedBeforeAnythingIsWritten) {
    EXPECT_THROW(write_phantom_dataset({folder_, 1, 48, 7, 1}), InputError);
    EXPECT_THROW(write_phantom_dataset({folder_, 3, 8, 7, 1}), InputError);
    EXPECT_FALSE(std::filesystem::exists(folder_));
}

}  // namespace
}  // namespace iwseg
