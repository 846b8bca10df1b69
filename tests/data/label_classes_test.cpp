#include "data/label_classes.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/lesion_labels.h"

namespace iwseg {
namespace {

LabelNames named(const std::string& labels) {
    return read_label_names(nlohmann::ordered_json{{"labels", nlohmann::ordered_json::parse(labels)}}, "dataset.json");
}

std::string refusal(const std::string& text, const LabelNames& names = {}) {
    try {
        read_label_classes(text, names, "classes");
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(LabelClasses, AreReadInTheirOrderAndWrittenInOneWay) {
    const std::vector<LabelClass> classes = read_label_classes(" edema = 1,tumour=3 + 2+3 ", {}, "classes");
    const std::vector<LabelClass> expected{{"edema", {1}}, {"tumour", {2, 3}}};
    EXPECT_EQ(classes, expected);
    EXPECT_EQ(label_classes_text(classes), "edema=1, tumour=2+3");
    EXPECT_EQ(read_label_classes(label_classes_text(classes), {}, "classes"), classes);
    EXPECT_TRUE(classes[1].holds(3));
    EXPECT_FALSE(classes[1].holds(1));
}

TEST(LabelClasses, OfADatasetAreItsNamesWithoutBackgroundAndIgnoreTheLargerRegionsFirst) {
    const LabelNames regions =
        named(R"({"background": 0, "core": [2, 3], "enhancing": 3, "whole": [1, 2, 3], "ignore": 4})");
    EXPECT_EQ(label_classes_text(read_label_classes("dataset", regions, "classes")),
              "whole=1+2+3, core=2+3, enhancing=3");
    const LabelNames decathlon = named(R"({"0": "background", "2": "tumour", "1": "edema"})");
    EXPECT_EQ(label_classes_text(read_label_classes("dataset", decathlon, "classes")), "edema=1, tumour=2");
}

TEST(LabelClasses, SharedValuesAreTold) {
    EXPECT_EQ(shared_value(read_label_classes("a=1,b=2", {}, "classes")), "");
    EXPECT_EQ(shared_value(read_label_classes("a=1+2,b=3,c=2", {}, "classes")), "a and c both hold 2");
}

TEST(LabelClasses, WhatCannotBeClassesIsRefused) {
    for (const char* text : {"", "edema", "edema=", "edema=x", "edema=1,", "edema=1.5", "edema=1 2", "=1"})
        EXPECT_NE(refusal(text), "") << text;
    EXPECT_TRUE(says(refusal("edema=1,Edema=2"), "two classes have the name Edema"));
    EXPECT_TRUE(says(refusal("a/b=1"), "'a/b'"));
    EXPECT_TRUE(says(refusal("..=1"), "'..'"));
    EXPECT_TRUE(says(refusal("edema=0"), "the class edema holds 0"));
    EXPECT_TRUE(says(refusal("dataset"), "names none"));
    const LabelNames names = named(R"({"background": 0, "edema": 1, "ignore": 2})");
    EXPECT_TRUE(says(refusal("edema=2", names), "dataset.json calls ignore"));
    EXPECT_TRUE(says(refusal("edema=1,tumour=7", names), "the class tumour holds 7, which dataset.json does not name"));
}

}  // namespace
}  // namespace iwseg
