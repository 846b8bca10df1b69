#include "data/volume/geometry_range.h"

#include <gtest/gtest.h>

namespace iwseg {
namespace {

/// columns[a]: where the file's axis a runs to, in mm along right, anterior, superior.
Geometry along(const std::array<std::array<double, 3>, 3>& columns) {
    Geometry geometry;
    geometry.shape = {4, 4, 4};
    for (int world = 0; world < 3; ++world)
        for (int axis = 0; axis < 3; ++axis) geometry.affine[world][axis] = columns[axis][world];
    return geometry;
}

const Geometry kRas = along({{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}});
const Geometry kLps = along({{{-1, 0, 0}, {0, -1, 0}, {0, 0, 1}}});

TEST(GeometryRange, OrientationsAreNamedAsNibabelDoes) {
    EXPECT_EQ(orientation_of(kRas), "RAS");
    EXPECT_EQ(orientation_of(kLps), "LPS");
    EXPECT_EQ(orientation_of(along({{{0, 0, -3}, {-0.5, 0, 0}, {0, 0.5, 0}}})), "ILA");
    // 40 degrees about the axis from left to right: the second and third axes lean, but are still two directions.
    EXPECT_EQ(orientation_of(along({{{1, 0, 0}, {0, 0.766, 0.643}, {0, -0.643, 0.766}}})), "RAS");
    // 50 degrees, with slices of 5 mm: whatever they are called, no direction comes twice.
    const std::string oblique = orientation_of(along({{{1, 0, 0}, {0, 0.643, 0.766}, {0, -3.83, 3.21}}}));
    EXPECT_EQ(oblique, "RSP");
}

TEST(GeometryRange, AlikeScansHaveOneSpacingAndNoWarning) {
    const Geometry nearly = along({{{1.005, 0, 0}, {0, 1, 0}, {0, 0, 1}}});  // within 1 %
    EXPECT_EQ(geometry_lines({kRas, nearly, kRas}), "spacing  1 x 1 x 1 mm, orientation RAS\n");
    EXPECT_EQ(geometry_lines({}), "");
}

TEST(GeometryRange, MixedScansAreRangesWithAWarning) {
    const Geometry thick = along({{{0.8, 0, 0}, {0, 0.8, 0}, {0, 0, 5}}});
    EXPECT_EQ(geometry_lines({kRas, thick, kLps}),
              "spacing  0.8 to 1 x 0.8 to 1 x 1 to 5 mm, orientation LPS (1), RAS (2)\n"
              "warning  the scans' spacings and orientations differ, and nothing is resampled: the network sees them\n"
              "         as they are, voxel for voxel\n");
    EXPECT_NE(geometry_lines({kRas, kLps}).find("the scans' orientations differ"), std::string::npos);
}

}  // namespace
}  // namespace iwseg
