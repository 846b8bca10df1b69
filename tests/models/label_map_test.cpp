#include "models/label_map.h"

#include <gtest/gtest.h>

namespace iwseg {
namespace {

TEST(LabelMaps, AreOfTheNarrowestTypeOfTheirValues) {
    EXPECT_EQ(LabelMap::bytes_a_voxel({}), 1);
    EXPECT_EQ(LabelMap::bytes_a_voxel({0, 255, 3}), 1);
    EXPECT_EQ(LabelMap::bytes_a_voxel({256, 0}), 2);
    EXPECT_EQ(LabelMap::bytes_a_voxel({32767}), 2);
    EXPECT_EQ(LabelMap::bytes_a_voxel({1, 32768}), 4);
    for (const std::int32_t most : {255, 32767, 65535}) {
        LabelMap map(5, {1, most});
        map.set(3, most);
        map.set(1, 1);
        EXPECT_EQ(map.as_i32(), (std::vector<std::int32_t>{0, 1, 0, most, 0}));
        EXPECT_EQ(map[3], most);
        EXPECT_EQ(map.size(), 5u);
        const LabelMap::Voxels taken = map.take();
        EXPECT_EQ(taken.index(), most == 255 ? 0u : most == 32767 ? 1u : 2u);
        EXPECT_EQ(map.size(), 0u);
    }
}

}  // namespace
}  // namespace iwseg
