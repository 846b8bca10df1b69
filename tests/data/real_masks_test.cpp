// Components and weights of a real lesion mask, read from a file.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "data/volume/volume.h"
#include "tests/support/component_fixture.h"

namespace iwseg {
namespace {

std::filesystem::path lesion_mask_folder() {
    return std::filesystem::path(IWSEG_SHARED_DIR) / "data/lesion_masks";
}

/// The mask's middle: `part` 2 is the half of each side, 4 a quarter.
Mask middle_of_lesions(std::int64_t part, Shape& shape) {
    const Volume<std::int32_t> volume = read_labels(lesion_mask_folder() / "ms_19.nii.gz");
    const auto [depth, height, width] = volume.geometry.shape;
    shape = {1, 1, depth / part, height / part, width / part};
    const std::int64_t z0 = (depth - shape.d) / 2, y0 = (height - shape.h) / 2, x0 = (width - shape.w) / 2;
    Mask mask;
    for (std::int64_t z = z0; z < z0 + shape.d; ++z)
        for (std::int64_t y = y0; y < y0 + shape.h; ++y)
            for (std::int64_t x = x0; x < x0 + shape.w; ++x)
                mask.push_back(volume.voxels[(z * height + y) * width + x] > 0);
    return mask;
}

class RealMasks : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        if (!std::filesystem::exists(lesion_mask_folder()))
            GTEST_SKIP() << "no folder " << lesion_mask_folder() << " here";
    }
};

TEST_P(RealMasks, AreLabelledAsFloodFillDoes) {
    Shape shape;
    const Mask mask = middle_of_lesions(GetParam() == TestBackend::cpu ? 2 : 3, shape);
    ASSERT_GT(std::count(mask.begin(), mask.end(), 1), 5000);
    expect_as_flooded(GetParam(), mask, shape);
}

TEST_P(RealMasks, HaveTheWeightsOfTheDefinition) {
    Shape shape;
    const Mask mask = middle_of_lesions(4, shape);
    EXPECT_TRUE(voxel_weights(GetParam(), mask, shape, 26) == by_definition(mask, shape, 26));
}

INSTANTIATE_TEST_SUITE_P(On, RealMasks, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace iwseg
