// Which label value is lesion, background or ignored.
#include "data/lesion_labels.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using Bytes = std::vector<std::uint8_t>;

LabelNames names(const std::string& labels) {
    return read_label_names(nlohmann::ordered_json::parse(labels.empty() ? "{}" : "{\"labels\": " + labels + "}"),
                            "dataset.json");
}

LabelMask mask(const LesionLabels& meaning, std::vector<std::int32_t> values) {
    Volume<std::int32_t> volume;
    volume.geometry.shape = {1, 1, static_cast<std::int64_t>(values.size())};
    volume.voxels = std::move(values);
    return meaning.mask_of(volume, "a.nii.gz");
}

TEST(LesionLabels, IgnoreIsNeitherLesionNorBackground) {
    for (const char* labels : {R"({"background": 0, "lesion": 1, "ignore": 2})",
                               R"({"0": "bg", "1": "lesion", "2": "ignore"})", R"(["air", "lesion", "Ignore"])"}) {
        const LabelMask found = mask({names(labels), {}}, {0, 1, 2, 2, 0, 1});
        EXPECT_EQ(found.lesion, (Bytes{0, 1, 0, 0, 0, 1})) << labels;
        EXPECT_EQ(found.ignored, (Bytes{0, 0, 1, 1, 0, 0})) << labels;
    }
    EXPECT_TRUE(mask({names(R"({"background": 0, "lesion": 1, "ignore": 2})"), {}}, {0, 1}).ignored.empty());
    EXPECT_TRUE(says(refusal([] { LesionLabels(names(R"({"background": 0, "lesion": 1, "ignore": 2})"), {2}); }),
                     "calls ignore"));
}

TEST(LesionLabels, AllNamedValuesAreLesionUnlessSomeAreChosen) {
    const LabelNames liver = names(R"({"background": 0, "liver": 1, "tumour": 2})");
    EXPECT_EQ(mask({liver, {}}, {0, 1, 2}).lesion, (Bytes{0, 1, 1}));
    EXPECT_EQ(mask({liver, {2}}, {0, 1, 2}).lesion, (Bytes{0, 0, 1}));
    EXPECT_EQ(LesionLabels(liver, {}).sentence(), "lesion is 1 (liver), 2 (tumour); labels = [...] chooses some");
    EXPECT_EQ(LesionLabels(liver, {2}).sentence(), "lesion is 2 (tumour)");
    EXPECT_EQ(LesionLabels(names(R"({"background": 0, "lesion": 1})"), {}).sentence(), "");
    EXPECT_EQ(LesionLabels().sentence(), "");
}

TEST(LesionLabels, AValueBeyondThirtyTwoBitsIsRefusedAndNotWrapped) {
    for (const std::string value : {"18446744073709551615", "9223372036854775808", "4294967297", "2147483648",
                                    "-2147483649", "-9223372036854775808"}) {
        for (const std::string& labels :
             {"{\"background\": 0, \"lesion\": " + value + "}", "{\"background\": 0, \"whole\": [1, " + value + "]}",
              "{\"" + value + "\": \"lesion\"}"})
            EXPECT_TRUE(says(refusal([&] { names(labels); }), "by whole numbers")) << labels;
    }
    EXPECT_EQ(names(R"({"background": 0, "lesion": 2147483647})").names.at(INT32_MAX), "lesion");
}

TEST(LesionLabels, RegionsCountByTheirValues) {
    const LesionLabels meaning(names(R"({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4})"), {});
    const LabelMask found = mask(meaning, {0, 1, 2, 3, 4});
    EXPECT_EQ(found.lesion, (Bytes{0, 1, 1, 1, 0}));
    EXPECT_EQ(found.ignored, (Bytes{0, 0, 0, 0, 1}));
    EXPECT_TRUE(says(meaning.sentence(), "regions (whole, core) count by their values")) << meaning.sentence();
    EXPECT_TRUE(says(meaning.sentence(), "4 is ignored")) << meaning.sentence();
}

TEST(LesionLabels, AValueThatNothingNamesIsRefused) {
    const LabelNames one = names(R"({"background": 0, "lesion": 1})");
    const std::string message = refusal([&] { mask({one, {}}, {0, 255, 255, 1}); });
    EXPECT_TRUE(says(message, "a.nii.gz holds 255 (2 voxels), which nothing names")) << message;
    EXPECT_TRUE(says(message, "0 (background), 1 (lesion)")) << message;
    // The configuration names it.
    EXPECT_EQ(mask({one, {255}}, {0, 255, 1}).lesion, (Bytes{0, 1, 0}));
    // Where nothing is named at all, values above 0 are lesion, as in any mask.
    EXPECT_EQ(mask({names(""), {}}, {0, 7, 255}).lesion, (Bytes{0, 1, 1}));
    EXPECT_EQ(mask({names(""), {7}}, {0, 7, 255}).lesion, (Bytes{0, 1, 0}));
    EXPECT_TRUE(says(refusal([&] { mask({names(""), {}}, {0, -1}); }), "holds -1"));
}

TEST(LesionLabels, OtherFormsOfLabelsAreRefused) {
    for (const char* labels : {"3", "null", R"({"lesion": "one"})", R"({"lesion": 1.5})", R"({"lesion": []})",
                               R"({"ignore": [1, 2]})", R"({"lesion": [1, "x"]})", R"({"lesion": 99999999999})"})
        EXPECT_TRUE(says(refusal([&] { names(labels); }), "must name its labels by whole numbers")) << labels;
    EXPECT_TRUE(says(refusal([] { names(R"({"lesion": 1, "ignore": 1})"); }), "both to lesion and to ignore"));
    EXPECT_TRUE(
        says(refusal([] { LesionLabels(names(R"({"background": 0})"), {}); }), "names no label but background"));
}

}  // namespace
}  // namespace iwseg
