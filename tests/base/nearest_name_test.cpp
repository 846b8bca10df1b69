#include "base/nearest_name.h"

#include <gtest/gtest.h>

namespace iwseg {

TEST(NearestName, OneMistypedLetterIsForgiven) {
    const std::vector<std::string> known = {"learning_rate", "momentum", "patch", "batch", "widths"};
    EXPECT_EQ(nearest_name("learning_rat", known), "learning_rate");
    EXPECT_EQ(nearest_name("learnign_rate", known), "learning_rate");
    EXPECT_EQ(nearest_name("Learning-Rate", known), "learning_rate");
    EXPECT_EQ(nearest_name("pach", known), "patch");
    EXPECT_EQ(nearest_name("width", known), "widths");
}

TEST(NearestName, OfTwoTheNearerIsTaken) {
    EXPECT_EQ(nearest_name("batchs", {"patch", "batch"}), "batch");
    EXPECT_EQ(nearest_name("xatch", {"patch", "batch"}), "patch") << "the earlier of equals";
}

TEST(NearestName, NothingIsGuessedFromAFarWord) {
    EXPECT_EQ(nearest_name("banana", {"momentum", "patch"}), "");
    EXPECT_EQ(nearest_name("", {"patch"}), "");
    EXPECT_EQ(nearest_name("x", {"y"}), "");
    EXPECT_EQ(nearest_name("patch", {}), "");
}

}  // namespace iwseg
