#include "apps/training/training_notes.h"

#include <gtest/gtest.h>

namespace iwseg {
namespace {

PreparedCase scan(const std::string& name, std::array<std::int64_t, 3> shape) {
    PreparedCase one;
    one.name = name;
    one.geometry.shape = shape;
    return one;
}

TEST(TrainingNotes, APatchLargerThanScansIsSaidWithTheirCountAndTheSmallest) {
    const std::vector<PreparedCase> scans{scan("flat", {96, 96, 40}), scan("whole", {64, 48, 64}),
                                          scan("thin", {20, 96, 96})};
    const std::string note = large_patch_note(scans, {48, 48, 48});
    EXPECT_NE(note.find("48 x 48 x 48 voxels is larger than 2 of 3 scans"), std::string::npos) << note;
    EXPECT_NE(note.find("thin has 20 x 96 x 96"), std::string::npos) << note;
    EXPECT_NE(large_patch_note(scans, {16, 56, 16}).find("1 of 3 scans"), std::string::npos)
        << "along the middle axis alone";
}

TEST(TrainingNotes, APatchThatFitsEveryScanExactlyIsNotSaid) {
    EXPECT_EQ(large_patch_note({scan("a", {48, 40, 32}), scan("b", {50, 40, 32})}, {48, 40, 32}), "");
}

}  // namespace
}  // namespace iwseg
