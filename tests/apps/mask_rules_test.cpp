#include "apps/prediction/mask_rules.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace iwseg {
namespace {

OperatingPoint point(float threshold, double volume, bool on_test_scans = false) {
    return {.rule = {threshold, volume}, .scans = 3, .lesions = 9, .on_test_scans = on_test_scans};
}

TEST(MaskRules, TheWeightsPointIsUsedUnlessOtherValuesAreAskedFor) {
    EXPECT_EQ(MaskRules({std::nullopt}, {}).of("a"), DetectionRule{});
    EXPECT_EQ(MaskRules({point(0.35f, 10)}, {}).of("a"), (DetectionRule{0.35f, 10}));
    EXPECT_EQ(MaskRules({point(0.35f, 10)}, {.threshold = 0.75}).of("a"), (DetectionRule{0.75f, 10}));
    EXPECT_EQ(MaskRules({point(0.35f, 10)}, {.min_volume = 0.0}).of("a"), (DetectionRule{0.35f, 0}));
    EXPECT_EQ(MaskRules({std::nullopt}, {.threshold = 0.75, .min_volume = 2.5}).of("a"), (DetectionRule{0.75f, 2.5}));
    for (const double threshold : {0.0, 1.0, -1.0, 50.0})
        EXPECT_THROW(MaskRules({std::nullopt}, {.threshold = threshold}), InputError) << threshold;
    EXPECT_THROW(MaskRules({std::nullopt}, {.min_volume = -1.0}), InputError);
}

TEST(MaskRules, APointChosenOnTestScansDoesNotMakeTheirMasks) {
    const MaskRules rules({point(0.35f, 10, true)}, {.own_test_scans = {"a", "b"}});
    EXPECT_EQ(rules.of("a"), DetectionRule{});
    EXPECT_EQ(rules.of("c"), (DetectionRule{0.35f, 10}));
    EXPECT_NE(rules.sentence().find("test scans"), std::string::npos);
    EXPECT_EQ(MaskRules({point(0.35f, 10, false)}, {.own_test_scans = {"a"}}).of("a"), (DetectionRule{0.35f, 10}));
    EXPECT_EQ(MaskRules({point(0.35f, 10, true)}, {.threshold = 0.9, .own_test_scans = {"a"}}).of("a"),
              (DetectionRule{0.9f, 0}));
}

TEST(MaskRules, AnEnsembleTakesTheMeanThresholdAndTheMedianVolume) {
    EXPECT_EQ(MaskRules({point(0.25f, 0), point(0.5f, 500), point(0.75f, 2)}, {}).of("a"), (DetectionRule{0.5f, 2}));
    EXPECT_EQ(MaskRules({point(0.25f, 1), point(0.75f, 2)}, {}).of("a"), (DetectionRule{0.5f, 1.5}));
    EXPECT_EQ(MaskRules({point(0.25f, 1), std::nullopt}, {}).of("a"), DetectionRule{});
}

}  // namespace
}  // namespace iwseg
