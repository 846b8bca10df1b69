#include "studies/morphology.h"

#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "base/error.h"
#include "base/extent.h"
#include "studies/crop.h"

namespace iwseg {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// One dilation by the six neighbours, voxel by voxel; beyond the faces lies `beyond`.
Bytes grown_once(const Bytes& mask, const Extent& shape, bool beyond) {
    const auto value = [&](std::int64_t i, std::int64_t j, std::int64_t k) {
        if (i < 0 || j < 0 || k < 0 || i >= shape[0] || j >= shape[1] || k >= shape[2]) return beyond;
        return mask[(i * shape[1] + j) * shape[2] + k] != 0;
    };
    Bytes grown;
    for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j)
            for (std::int64_t k = 0; k < shape[2]; ++k)
                grown.push_back(value(i, j, k) || value(i - 1, j, k) || value(i + 1, j, k) || value(i, j - 1, k) ||
                                value(i, j + 1, k) || value(i, j, k - 1) || value(i, j, k + 1));
    return grown;
}

Bytes inverted(Bytes mask) {
    for (auto& voxel : mask) voxel = voxel == 0;
    return mask;
}

class Morphology : public testing::Test {
  protected:
    Morphology() { std::cout << "seed " << seed_ << "\n"; }
    int whole(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

    Bytes random_mask(const Extent& shape, double density) {
        Bytes mask(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
        std::bernoulli_distribution inside(density);
        for (auto& voxel : mask) voxel = inside(random_) ? static_cast<std::uint8_t>(whole(1, 255)) : 0;
        return mask;
    }

    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
};

TEST_F(Morphology, StepsAreThatManyStepsOfTheSixNeighbours) {
    for (int round = 0; round < 200; ++round) {
        const Extent shape{whole(1, 13), whole(1, 13), whole(1, 40)};
        const Bytes mask = random_mask(shape, std::array{0.0, 0.002, 0.05, 0.5, 0.95, 1.0}[round % 6]);
        const int steps = whole(0, 12);
        Bytes grown = mask, shrunk = mask, kept_at_faces = mask;
        Bytes plain_grown = mask, rest = inverted(mask), rest_inside = inverted(mask);
        for (auto& voxel : plain_grown) voxel = voxel != 0;
        for (int step = 0; step < steps; ++step) {
            plain_grown = grown_once(plain_grown, shape, false);
            rest = grown_once(rest, shape, true);
            rest_inside = grown_once(rest_inside, shape, false);
        }
        dilate(grown, shape, steps);
        erode(shrunk, shape, steps, Beyond::background);
        erode(kept_at_faces, shape, steps, Beyond::foreground);
        ASSERT_EQ(grown, plain_grown) << steps;
        ASSERT_EQ(shrunk, inverted(rest)) << steps;
        ASSERT_EQ(kept_at_faces, inverted(rest_inside)) << steps;
    }
}

TEST_F(Morphology, StepsUpToTheMostReachAsFarAsTheySay) {
    const Extent shape{1, 3, 400};
    for (const int steps : {253, 254}) {
        Bytes mask(1200);
        mask[20] = 1;
        dilate(mask, shape, steps);
        EXPECT_EQ(mask[20 + steps], 1);
        EXPECT_EQ(mask[21 + steps], 0);
        EXPECT_EQ(mask[400 + 19 + steps], 1);
        EXPECT_EQ(mask[400 + 20 + steps], 0);
    }
    Bytes mask(1200, 1);
    EXPECT_THROW(dilate(mask, shape, 255), InputError);
    EXPECT_THROW(erode(mask, shape, -1, Beyond::background), InputError);
    Bytes none;
    dilate(none, {0, 3, 4}, 3);
    EXPECT_TRUE(none.empty());
}

TEST_F(Morphology, BoundingBoxHoldsTheMaskTightly) {
    for (int round = 0; round < 200; ++round) {
        const Extent shape{whole(1, 9), whole(1, 9), whole(1, 9)};
        const Bytes mask = random_mask(shape, round % 2 ? 0.02 : 0.2);
        Extent first = shape, end{};
        for (std::int64_t i = 0, v = 0; i < shape[0]; ++i)
            for (std::int64_t j = 0; j < shape[1]; ++j)
                for (std::int64_t k = 0; k < shape[2]; ++k, ++v) {
                    if (!mask[v]) continue;
                    const Extent here{i, j, k};
                    for (int a = 0; a < 3; ++a)
                        first[a] = std::min(first[a], here[a]), end[a] = std::max(end[a], here[a] + 1);
                }
        const auto box = bounding_box(mask, shape);
        ASSERT_EQ(box.has_value(), end[0] > 0);
        if (!box) continue;
        ASSERT_EQ(*box, (VoxelBox{first, end}));
        const VoxelBox wider = with_margin(*box, 2, shape);
        for (int a = 0; a < 3; ++a) {
            EXPECT_EQ(wider.first[a], std::max<std::int64_t>(0, first[a] - 2));
            EXPECT_EQ(wider.end[a], std::min(shape[a], end[a] + 2));
        }
    }
}

// The same voxel before and after lies at the same mm, to 1e-9 by rounding of sums of numbers near 100.
TEST_F(Morphology, CroppedVoxelsStayWhereTheyAre) {
    std::uniform_real_distribution<double> real(-2, 2);
    for (int round = 0; round < 20; ++round) {
        Volume<float> volume;
        volume.geometry.shape = {whole(3, 9), whole(3, 9), whole(3, 9)};
        for (auto& row : volume.geometry.affine)
            for (double& value : row) value = 20 * real(random_);
        for (std::int64_t v = 0; v < volume.geometry.voxels(); ++v) volume.voxels.push_back(static_cast<float>(v));
        VoxelBox box;
        for (int a = 0; a < 3; ++a) {
            box.first[a] = whole(0, 2);
            box.end[a] = whole(static_cast<int>(box.first[a]) + 1, static_cast<int>(volume.geometry.shape[a]));
        }
        const Volume<float> cropped = crop(volume, box);
        ASSERT_EQ(cropped.geometry.shape, box.shape());
        const auto mm = [](const Geometry& geometry, const Extent& v, int row) {
            const auto& a = geometry.affine[row];
            return a[0] * v[0] + a[1] * v[1] + a[2] * v[2] + a[3];
        };
        std::size_t at = 0;
        for (std::int64_t i = 0; i < box.shape()[0]; ++i)
            for (std::int64_t j = 0; j < box.shape()[1]; ++j)
                for (std::int64_t k = 0; k < box.shape()[2]; ++k, ++at) {
                    const Extent outer{i + box.first[0], j + box.first[1], k + box.first[2]};
                    const Extent& shape = volume.geometry.shape;
                    ASSERT_EQ(cropped.voxels[at],
                              volume.voxels[(outer[0] * shape[1] + outer[1]) * shape[2] + outer[2]]);
                    for (int row = 0; row < 3; ++row)
                        ASSERT_NEAR(mm(cropped.geometry, {i, j, k}, row), mm(volume.geometry, outer, row), 1e-9);
                }
    }
}

}  // namespace
}  // namespace iwseg
