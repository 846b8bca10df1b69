// Scans in every orientation as nnU-Net's readers that make RAS forms of them hand them on, and labels put back.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "data/volume/orientation.h"
#include "engine/safetensors.h"
#include "nnunet/export.h"
#include "nnunet/preprocess.h"
#include "tests/support/golden.h"

namespace iwseg::nnunet {
namespace {

constexpr std::size_t kVoxels = 24;
const Extent kShape{2, 3, 4};

/// What a reader of nnU-Net's made of scans whose voxels hold 0, 1, ... (orientation_golden.py).
struct ReadScans {
    std::vector<float> affines, images, sides, spacings;

    std::size_t count() const { return affines.size() / 12; }
    Geometry geometry(std::size_t nth) const {
        Geometry made;
        made.shape = kShape;
        for (std::size_t i = 0; i < 12; ++i) made.affine[i / 4][i % 4] = affines[nth * 12 + i];
        return made;
    }
};

ReadScans read_scans(OrientationRule rule) {
    const auto golden = read_safetensors(kept_golden("nnunet_orientation.safetensors"));
    const std::string reader = rule == OrientationRule::itk ? "itk." : "nibabel.";
    const auto values = [&](const char* key) { return golden.at(reader + key).as_f32(); };
    return {values("affine"), values("image"), values("sides"), values("spacing")};
}

/// Which axis of nnU-Net's arrays each of the placement's is, undone: of the array's axes, the placement's.
std::array<std::size_t, 3> undone(const std::array<int, 3>& transpose) {
    std::array<std::size_t, 3> made{};
    for (std::size_t a = 0; a < 3; ++a) made[static_cast<std::size_t>(transpose[a])] = a;
    return made;
}

class ScansOfAReader : public testing::TestWithParam<OrientationRule> {
  protected:
    ReadScans scans_ = read_scans(GetParam());
    std::vector<std::array<int, 3>> transposes_{{0, 1, 2}, {1, 2, 0}, {2, 1, 0}};
};

TEST_P(ScansOfAReader, LieAsItHandsThemOn) {
    ASSERT_GE(scans_.count(), 48u);
    for (std::size_t nth = 0; nth < scans_.count(); ++nth)
        for (const std::array<int, 3>& transpose : transposes_) {
            Plans plans;
            plans.to_ras = GetParam();
            plans.transpose_forward = transpose;
            const Placement where = placement_of(scans_.geometry(nth), plans);
            const Extent sides = where.array_sides(), strides = where.strides();
            const auto axis = undone(transpose);
            for (std::size_t a = 0; a < 3; ++a) {
                ASSERT_EQ(static_cast<float>(sides[a]), scans_.sides[nth * 3 + a]) << "scan " << nth;
                // nibabel's of a RAS form are f32 of the affine's; of others, and ITK's, they are f32 of the header's.
                EXPECT_NEAR(where.spacing[axis[a]], scans_.spacings[nth * 3 + a], 3e-7) << "scan " << nth;
            }
            for (std::int64_t v = 0; v < std::int64_t{kVoxels}; ++v) {
                const Extent at{v / (sides[1] * sides[2]), v / sides[2] % sides[1], v % sides[2]};
                std::int64_t place = where.origin();
                for (std::size_t a = 0; a < 3; ++a) place += at[a] * strides[axis[a]];
                ASSERT_EQ(static_cast<float>(place), scans_.images[nth * kVoxels + static_cast<std::size_t>(v)])
                    << "scan " << nth << ", voxel " << v;
            }
        }
}

TEST_P(ScansOfAReader, HaveTheirLabelsWhereTheFileHasTheVoxels) {
    // A class a voxel: the labels are the voxels' own values again.
    Labels labels;
    for (std::size_t k = 0; k < kVoxels; ++k) {
        labels.names.push_back(std::to_string(k));
        labels.values.push_back(static_cast<std::int32_t>(k));
    }
    std::vector<std::int32_t> expected(kVoxels);
    for (std::size_t v = 0; v < kVoxels; ++v) expected[v] = static_cast<std::int32_t>(v);
    for (std::size_t nth = 0; nth < scans_.count(); ++nth)
        for (const std::array<int, 3>& transpose : transposes_) {
            Plans plans;
            plans.to_ras = GetParam();
            plans.transpose_forward = transpose;
            plans.configuration.spacing = {1, 1, 1};
            plans.configuration.of_logits = {1, 0, {}};
            Placement where = placement_of(scans_.geometry(nth), plans);
            where.resampled = where.cropped;
            LabelWriter writer({}, where, plans, labels, true);
            const Extent sides = where.array_sides(), &seen = where.resampled;
            const float* const image = scans_.images.data() + nth * kVoxels;
            const std::int64_t plane = seen[1] * seen[2];
            for (std::int64_t d = 0; d < seen[0]; ++d) {
                std::vector<float> logits(kVoxels * static_cast<std::size_t>(plane));
                for (std::int64_t i = 0; i < plane; ++i) {
                    Extent at{};
                    const Extent of_plan{d, i / seen[2], i % seen[2]};
                    for (std::size_t a = 0; a < 3; ++a) at[static_cast<std::size_t>(transpose[a])] = of_plan[a];
                    const auto value = static_cast<std::size_t>(image[(at[0] * sides[1] + at[1]) * sides[2] + at[2]]);
                    logits[value * static_cast<std::size_t>(plane) + static_cast<std::size_t>(i)] = 20;
                }
                writer.add(logits.data());
            }
            ASSERT_EQ(writer.labels().as_i32(), expected) << "scan " << nth;
            // Probabilities stay as the reader's array lies: nnU-Net writes them without it.
            for (std::size_t v = 0; v < kVoxels; ++v)
                ASSERT_NEAR(writer.probabilities()[static_cast<std::size_t>(image[v]) * kVoxels + v], 1, 1e-6);
        }
}

INSTANTIATE_TEST_SUITE_P(Of, ScansOfAReader, testing::Values(OrientationRule::nibabel, OrientationRule::itk),
                         [](const auto& one) { return one.param == OrientationRule::itk ? "itk" : "nibabel"; });

TEST(Orientations, OfScansLessThan45DegreesObliqueAreTheSameByBothRules) {
    std::mt19937 generator(std::random_device{}());
    std::uniform_real_distribution<double> angle(-0.4, 0.4), size(0.3, 4);
    for (int round = 0; round < 200; ++round) {
        // Rows of a small rotation, permuted and mirrored.
        const double x = angle(generator), y = angle(generator);
        const std::array<std::array<double, 3>, 3> turned{
            {{std::cos(y), 0, std::sin(y)},
             {std::sin(x) * std::sin(y), std::cos(x), -std::sin(x) * std::cos(y)},
             {-std::cos(x) * std::sin(y), std::sin(x), std::cos(x) * std::cos(y)}}};
        Orientation expected;
        std::shuffle(expected.axes.begin(), expected.axes.end(), generator);
        Affine affine{};
        for (std::size_t row = 0; row < 3; ++row) expected.reversed[row] = generator() % 2 == 0;
        for (std::size_t to = 0; to < 3; ++to) {
            const double mm = size(generator) * (expected.reversed[to] ? -1 : 1);
            for (std::size_t row = 0; row < 3; ++row)
                affine[row][static_cast<std::size_t>(expected.axes[to])] = turned[row][to] * mm;
        }
        EXPECT_EQ(orientation_of(affine, OrientationRule::nibabel), expected);
        EXPECT_EQ(orientation_of(affine, OrientationRule::itk), expected);
    }
}

TEST(Orientations, OfAxesNearlyInAPlaneAreFound) {
    // As oblique as a header may be that is read at all (spans_volume).
    const Affine affine{{{1, 0, 0.7, 0}, {0, 1, 0.7, 0}, {0, 0, 2e-6, 0}}};
    EXPECT_EQ(orientation_of(affine, OrientationRule::nibabel).axes, (std::array<int, 3>{0, 1, 2}));
    EXPECT_TRUE(orientation_of({{{2, 0, 0, 5}, {0, 2, 0, 5}, {0, 0, 3, 5}}}, OrientationRule::itk).is_ras());
}

}  // namespace
}  // namespace iwseg::nnunet
