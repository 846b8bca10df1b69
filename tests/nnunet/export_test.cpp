// Labels and probabilities where they belong in the file: transposed, cropped, resampled, of regions.
#include "nnunet/export.h"

#include <gtest/gtest.h>

#include <cmath>

namespace iwseg::nnunet {
namespace {

/// A scan of 4 x 5 x 6 voxels (i, j, k) of which 2 x 3 x 4 from (1, 2, 0) on are seen, and its axes transposed.
Placement placement(const std::array<int, 3>& transpose) {
    const Extent scan{4, 5, 6}, first{1, 2, 0}, cropped{2, 3, 4};
    Placement made;
    made.transpose = transpose;
    for (std::size_t a = 0; a < 3; ++a) {
        const std::size_t source = made.source_axis(a);
        made.scan[a] = scan[source];
        made.first[a] = first[source];
        made.cropped[a] = made.resampled[a] = cropped[source];
        made.spacing[a] = 1;
    }
    return made;
}

Plans plans() {
    Plans made;
    made.configuration.spacing = {1, 1, 1};
    made.configuration.of_logits = {1, 0, {}};
    return made;
}

/// Logits of a class above 0 at one voxel (i, j, k) of the file, below it elsewhere; given plane by plane.
void add_planes(LabelWriter& writer, const Placement& where, const std::vector<Extent>& voxels) {
    const std::int64_t plane = where.resampled[1] * where.resampled[2];
    for (std::int64_t d = 0; d < where.resampled[0]; ++d) {
        std::vector<float> logits(static_cast<std::size_t>(plane) * voxels.size(), -2.0f);
        for (std::size_t k = 0; k < voxels.size(); ++k) {
            Extent at{};
            for (std::size_t a = 0; a < 3; ++a) at[a] = voxels[k][where.source_axis(a)] - where.first[a];
            if (at[0] == d)
                logits[k * static_cast<std::size_t>(plane) +
                       static_cast<std::size_t>(at[1] * where.resampled[2] + at[2])] = 3;
        }
        writer.add(logits.data());
    }
}

std::size_t place(const Extent& voxel) {
    return static_cast<std::size_t>((voxel[0] * 5 + voxel[1]) * 6 + voxel[2]);
}

TEST(NnunetLabels, LieWhereTheirVoxelsDo) {
    const Labels labels{{"background", "a", "b"}, {}, {0, 1, 2}};
    for (const std::array<int, 3>& transpose : {std::array<int, 3>{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {2, 1, 0}}) {
        const Placement where = placement(transpose);
        LabelWriter writer({}, where, plans(), labels, true);
        add_planes(writer, where, {{1, 2, 0}, {2, 4, 3}, {1, 3, 2}});
        std::vector<std::int32_t> expected(4 * 5 * 6);
        expected[place({2, 4, 3})] = 1;
        expected[place({1, 3, 2})] = 2;
        EXPECT_EQ(writer.labels().as_i32(), expected) << transpose[0] << transpose[1] << transpose[2];
        // In the order of nnU-Net's arrays, (k, j, i) of the file.
        const auto probability = [&](std::size_t label, std::size_t i, std::size_t j, std::size_t k) {
            return writer.probabilities()[label * 120 + (k * 5 + j) * 4 + i];
        };
        const double e = std::exp(3.0), rest = std::exp(-2.0);
        EXPECT_NEAR(probability(1, 2, 4, 3), e / (e + 2 * rest), 1e-6);
        EXPECT_NEAR(probability(2, 2, 4, 3), rest / (e + 2 * rest), 1e-6);
        EXPECT_NEAR(probability(0, 1, 2, 1), 1.0 / 3, 1e-6);
        EXPECT_EQ(probability(0, 0, 0, 0), 1) << "outside of the crop is background";
    }
}

TEST(NnunetLabels, OfRegionsAreTheLastThatHoldsTheVoxel) {
    const Labels labels{{"whole", "core"}, {300, 7}, {}};
    const Placement where = placement({0, 1, 2});
    LabelWriter writer({}, where, plans(), labels, true);
    add_planes(writer, where, {{1, 3, 1}, {1, 3, 1}});
    EXPECT_EQ(writer.labels()[place({1, 3, 1})], 7);
    EXPECT_NEAR(writer.probabilities()[(1 * 5 + 3) * 4 + 1], 1 / (1 + std::exp(-3.0)), 1e-6);
    EXPECT_EQ(writer.probabilities()[0], 0);
    LabelWriter other({}, where, plans(), labels);
    add_planes(other, where, {{1, 3, 1}, {2, 3, 1}});
    EXPECT_EQ(other.labels()[place({1, 3, 1})], 300);
    EXPECT_EQ(other.labels()[place({2, 3, 1})], 7);
    EXPECT_TRUE(other.probabilities().empty());
}

TEST(NnunetLabels, OfFinerAndCoarserPlanesAreThoseOfTheScansGrid) {
    // Planes of label 0 and 1 in turn, resampled to more and to fewer of them: linear between, and the edges go on.
    const Labels labels{{"background", "a"}, {}, {0, 1}};
    for (const std::int64_t planes : {1, 2, 3, 5, 8, 13}) {
        Placement where;
        where.transpose = {2, 1, 0};
        where.scan = where.cropped = {5, 1, 1};
        where.resampled = {planes, 1, 1};
        where.spacing = {1, 1, 1};
        LabelWriter writer({}, where, plans(), labels);
        std::vector<double> values;
        for (std::int64_t d = 0; d < planes; ++d) {
            values.push_back(d % 2 ? 1.25 : -1);
            const float logits[] = {0, static_cast<float>(values.back())};
            writer.add(logits);
        }
        std::vector<std::int32_t> expected;
        for (int i = 0; i < 5; ++i) {
            const double at = (i + 0.5) * static_cast<double>(planes) / 5 - 0.5;
            const auto value = [&](double place) {
                return values[static_cast<std::size_t>(
                    std::min(std::max(place, 0.0), static_cast<double>(planes - 1)))];
            };
            const double t = at - std::floor(at);
            expected.push_back((1 - t) * value(std::floor(at)) + t * value(std::floor(at) + 1) > 0);
        }
        EXPECT_EQ(writer.labels().as_i32(), expected) << planes << " planes";
    }
}

}  // namespace
}  // namespace iwseg::nnunet
