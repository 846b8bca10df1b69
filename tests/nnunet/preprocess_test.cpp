// Scans as nnU-Net's own preprocessor leaves them, and what it does to what they are made of.
#include "nnunet/preprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/thread_pool.h"
#include "tests/nnunet/npz.h"
#include "tests/support/golden.h"
#include "tests/support/refusal.h"

namespace iwseg::nnunet {
namespace {

using std::filesystem::path;

class NnunetStages : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(NnunetStages, BeginWithTheSameImage) {
    const auto [name, number] = GetParam();
    const path folder = golden_file("nnunet") / name;
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
    const Dataset dataset = read_dataset(folder / "model" / "dataset.json");
    const Plans plans = read_plans(folder / "model" / "plans.json", "3d_fullres", dataset);
    std::vector<Volume<float>> channels;
    const std::string scan = "case_" + std::to_string(number);
    for (std::size_t c = 0; c < dataset.channels.size(); ++c)
        channels.push_back(read_image(folder / "imagesTs" / (scan + "_000" + std::to_string(c) + ".nii.gz")));
    ThreadPool pool(2);
    const Preprocessed made = preprocess(pool.stream(), std::move(channels), plans);
    const NumpyArray expected = read_npz(folder / "stages" / (scan + ".npz"), "preprocessed");
    const Extent& extent = made.placement.resampled;
    ASSERT_EQ(expected.shape, (std::vector<std::int64_t>{static_cast<std::int64_t>(dataset.channels.size()), extent[0],
                                                         extent[1], extent[2]}));
    double worst = 0, largest = 0;
    for (std::size_t v = 0; v < made.image.size(); ++v) {
        worst = std::max(worst, std::abs(double{made.image[v]} - expected.values[v]));
        largest = std::max(largest, std::abs(double{expected.values[v]}));
    }
    RecordProperty("worst", std::to_string(worst));
    EXPECT_LE(worst, 1e-5 * largest) << "f32 between axes, where theirs are double";
}

INSTANTIATE_TEST_SUITE_P(Of, NnunetStages, testing::Combine(testing::Values("plain", "resenc"), testing::Values(0, 1)),
                         [](const auto& one) {
                             return std::string(std::get<0>(one.param)) + "_" + std::to_string(std::get<1>(one.param));
                         });

Volume<float> volume(const std::array<std::int64_t, 3>& shape, float value = 0) {
    Volume<float> made;
    made.geometry.shape = shape;
    made.voxels.assign(static_cast<std::size_t>(made.geometry.voxels()), value);
    return made;
}

float& at(Volume<float>& v, std::int64_t i, std::int64_t j, std::int64_t k) {
    const auto& shape = v.geometry.shape;
    return v.voxels[static_cast<std::size_t>((i * shape[1] + j) * shape[2] + k)];
}

Plans plans_of(Normalisation how, bool nonzero = false, std::array<int, 3> transpose = {0, 1, 2}) {
    Plans plans;
    plans.transpose_forward = transpose;
    plans.intensities = {{1, 2, -1, 5}};
    plans.configuration.spacing = {1, 1, 1};
    plans.configuration.normalisations = {how};
    plans.configuration.normalise_nonzero = {nonzero};
    return plans;
}

Preprocessed run(const Volume<float>& scan, const Plans& plans) {
    return preprocess({}, {scan}, plans);
}

TEST(NnunetPreprocessing, CropsAndTransposes) {
    Volume<float> scan = volume({4, 5, 6});
    at(scan, 1, 2, 3) = 7, at(scan, 2, 4, 3) = 9;
    const Preprocessed made = run(scan, plans_of(Normalisation::none));
    EXPECT_EQ(made.placement.scan, (Extent{6, 5, 4})) << "z, y, x";
    EXPECT_EQ(made.placement.first, (Extent{3, 2, 1}));
    EXPECT_EQ(made.placement.cropped, (Extent{1, 3, 2}));
    EXPECT_EQ(made.image, (std::vector<float>{7, 0, 0, 0, 0, 9}));
    const Preprocessed turned = run(scan, plans_of(Normalisation::none, false, {2, 0, 1}));
    EXPECT_EQ(turned.placement.cropped, (Extent{2, 1, 3})) << "x, z, y";
    EXPECT_EQ(turned.image, (std::vector<float>{7, 0, 0, 0, 0, 9}));
    const Preprocessed empty = run(volume({2, 2, 2}), plans_of(Normalisation::none));
    EXPECT_EQ(empty.placement.cropped, (Extent{2, 2, 2})) << "of a scan that is 0 all over all is kept";
}

TEST(NnunetPreprocessing, Normalises) {
    Volume<float> scan = volume({1, 1, 4});
    scan.voxels = {-3, 2, 4, 9};
    const auto of = [&](Normalisation how) { return run(scan, plans_of(how)).image; };
    EXPECT_EQ(of(Normalisation::ct), (std::vector<float>{-1, 0.5, 1.5, 2})) << "within -1 and 5, less 1, by 2";
    EXPECT_EQ(of(Normalisation::none), scan.voxels);
    const std::vector<float> zscore = of(Normalisation::zscore);
    for (std::size_t v = 0; v < 4; ++v) EXPECT_NEAR(zscore[v], (scan.voxels[v] - 3) / std::sqrt(18.5), 1e-6);
    const std::vector<float> rescaled = of(Normalisation::rescale_to_0_1);
    EXPECT_EQ(rescaled.front(), 0);
    EXPECT_EQ(rescaled.back(), 1);
    EXPECT_TRUE(says(refusal([&] { of(Normalisation::rgb_to_0_1); }), "channel 0 has values from -3 to 9"));
    scan.voxels = {0, 51, 255, 102};
    EXPECT_FLOAT_EQ(of(Normalisation::rgb_to_0_1)[0], 0.2f) << "the first voxel is cropped away";
    scan.voxels = {5, 5, 5, 5};
    EXPECT_EQ(of(Normalisation::zscore), std::vector<float>(4, 0)) << "values that are all alike become 0";
}

TEST(NnunetPreprocessing, LeavesWhatIsOutsideOfAMaskButNotItsHoles) {
    Volume<float> scan = volume({5, 5, 5}, 3);
    at(scan, 2, 2, 2) = 0;  // a hole
    at(scan, 0, 2, 2) = 0;  // open to the outside
    at(scan, 4, 4, 4) = 0;  // a corner
    at(scan, 1, 1, 1) = 9;
    const std::vector<float> image = run(scan, plans_of(Normalisation::zscore, true)).image;
    const auto voxel = [&](std::int64_t i, std::int64_t j, std::int64_t k) {
        return image[static_cast<std::size_t>((k * 5 + j) * 5 + i)];
    };
    EXPECT_EQ(voxel(0, 2, 2), 0);
    EXPECT_EQ(voxel(4, 4, 4), 0);
    // 123 voxels: 121 of 3, one of 9, one of 0.
    const double mean = (121 * 3 + 9) / 123.0, deviation = std::sqrt((121 * 9 + 81) / 123.0 - mean * mean);
    EXPECT_NEAR(voxel(2, 2, 2), -mean / deviation, 1e-5);
    EXPECT_NEAR(voxel(1, 1, 1), (9 - mean) / deviation, 1e-5);
}

TEST(NnunetPreprocessing, RefusesWhatItCannotUse) {
    Volume<float> scan = volume({2, 2, 2}, 1);
    const Plans plans = plans_of(Normalisation::none);
    EXPECT_TRUE(says(refusal([&] { preprocess({}, {scan, scan}, plans); }), "2 channels, the model takes 1"));
    scan.voxels[3] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(says(refusal([&] { run(scan, plans); }), "channel 0 holds the value nan"));
    Plans coarse = plans;
    coarse.configuration.spacing = {9, 1, 1};
    EXPECT_TRUE(says(refusal([&] { run(volume({2, 2, 2}, 1), coarse); }), "a side of 0 at the model's spacing"));
}

}  // namespace
}  // namespace iwseg::nnunet
