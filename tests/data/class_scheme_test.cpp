#include "data/class_scheme.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/extent.h"
#include "data/lesion_labels.h"
#include "data/sampling.h"

// From label files to a step's labels, a network's channels, and back to labels.
namespace iwseg {
namespace {

LabelNames named(const std::string& labels) {
    return read_label_names(nlohmann::ordered_json{{"labels", nlohmann::ordered_json::parse(labels)}}, "dataset.json");
}

std::string refusal(const std::string& classes, const std::string& regions) {
    try {
        ClassScheme(classes, regions, {});
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

Volume<std::int32_t> file_of(const std::vector<std::int32_t>& voxels) {
    Volume<std::int32_t> file;
    file.geometry.shape = {1, 1, static_cast<std::int64_t>(voxels.size())};
    file.voxels = voxels;
    return file;
}

bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(ClassScheme, ClassesAreChannelsAfterBackground) {
    const ClassScheme scheme("edema=7, tumour=2+3", "", {});
    EXPECT_EQ(scheme.outputs(), 3);
    EXPECT_EQ(scheme.labels(), 2);
    EXPECT_EQ(scheme.map_of(file_of({0, 7, 2, 3, 0}), "a.nii", {}), (std::vector<std::uint8_t>{0, 1, 2, 2, 0}));
    const ClassChannels channels = scheme.channels();
    EXPECT_TRUE(channels.exclusive);
    EXPECT_EQ(channels.channels, 3);
    for (std::uint64_t k = 0; k < 3; ++k) EXPECT_EQ(channels.labels[k], 1u << k);
    const OutputClasses output = scheme.output();
    EXPECT_EQ(output.names, (std::vector<std::string>{"background", "edema", "tumour"}));
    EXPECT_EQ(output.values, (std::vector<std::int32_t>{0, 7, 2}));
    EXPECT_EQ(label_of_logits({0, 1, 2}, output.values, false), 2);
    EXPECT_EQ(label_of_logits({1, 1, 0}, output.values, false), 0) << "of equal ones the first";
}

TEST(ClassScheme, SaysWhatOfTheDatasetIsBackground) {
    const LabelNames names = named(R"({"background": 0, "edema": 1, "rim": 2, "core": 3, "scar": 5, "ignore": 9})");
    EXPECT_EQ(ClassScheme("edema=1, tumour=2+3", "", names).sentence(names),
              "edema=1, tumour=2+3; 5 (scar) counts as background");
    EXPECT_EQ(ClassScheme("edema=1", "", names).sentence(names),
              "edema=1; 2 (rim), 3 (core), 5 (scar) count as background");
    EXPECT_EQ(ClassScheme("dataset", "", names).sentence(names), "edema=1, rim=2, core=3, scar=5");
}

TEST(ClassScheme, RegionsThatOverlapInPartAreRefused) {
    EXPECT_TRUE(says(refusal("", "a=1+2, b=2+3"), "a and b share label values"));
    EXPECT_EQ(refusal("", "a=1+2+4, b=2+4, c=3"), "");
}

TEST(ClassScheme, NamesThatResultsHaveAlreadyAreRefused) {
    EXPECT_TRUE(says(refusal("Background=1", ""), "what is of no class"));
    EXPECT_TRUE(says(refusal("metrics.json=1", ""), "a file of results"));
    EXPECT_TRUE(says(refusal("\xff=1", ""), "no name for a folder"));
}

TEST(ClassScheme, LogitsAreThoseOfTheProbabilities) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 6);
    for (int nth = 0; nth < 200; ++nth) {
        const std::vector<float> logits{normal(random), normal(random), normal(random)};
        double sum = 0;
        for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
        for (std::size_t k = 0; k < 3; ++k) {
            const double p = std::exp(static_cast<double>(logits[k]));
            // Some roundings of f32 of sums up to 40.
            EXPECT_NEAR(class_logit_of(logits, k, false), std::log(p / (sum - p)), 2e-5);
            EXPECT_EQ(class_logit_of(logits, k, true), logits[k]);
        }
    }
    EXPECT_FLOAT_EQ(class_logit_of({100, 0}, 0, false), 100) << "where the probability is 1 in f32";
}

TEST(ClassScheme, RegionsHoldLabelsInCommonAndAreWrittenAsTheirOwn) {
    const ClassScheme scheme("", "whole=1+2+3, core=2+3, enhancing=3", {});
    EXPECT_EQ(scheme.outputs(), 3);
    const ClassChannels channels = scheme.channels();
    EXPECT_FALSE(channels.exclusive);
    EXPECT_EQ(channels.labels[0], 0b1110u);
    EXPECT_EQ(channels.labels[1], 0b1100u);
    EXPECT_EQ(channels.labels[2], 0b1000u);
    const OutputClasses output = scheme.output();
    EXPECT_EQ(output.values, (std::vector<std::int32_t>{1, 2, 3}));
    EXPECT_EQ(label_of_logits({1, 1, -1}, output.values, true), 2);
    EXPECT_EQ(label_of_logits({-1, -1, -1}, output.values, true), 0);
}

/// nnU-Net's regions are in the order of dataset.json, and its regions_class_order is by that.
TEST(ClassScheme, RegionsOfADatasetAreWrittenInItsOrder) {
    const auto named = [](const std::string& order) {
        return read_label_names(
            nlohmann::ordered_json::parse(
                R"({"labels": {"background": 0, "whole": [1, 2, 4, 5], "enhancing": [4, 5], "core": [2],
                                            "ignore": 6}, "regions_class_order": )" +
                order + "}"),
            "dataset.json");
    };
    const LabelNames names = named("[1, 5, 2]");
    const ClassScheme scheme("", "dataset", names);
    EXPECT_EQ(label_classes_text(scheme.classes()), "whole=1+2+4+5, enhancing=4+5, core=2");
    const OutputClasses output = scheme.output();
    EXPECT_EQ(output.names, (std::vector<std::string>{"whole", "enhancing", "core"}));
    EXPECT_EQ(output.values, (std::vector<std::int32_t>{1, 5, 2}));
    EXPECT_EQ(label_of_logits({1, 1, -1}, output.values, true), 5);
    EXPECT_EQ(label_of_logits({1, 1, 1}, output.values, true), 2) << "later regions over earlier ones";
    EXPECT_EQ(ClassScheme("", "whole=1+2+4+5, enhancing=4+5", names).output().values, (std::vector<std::int32_t>{1, 4}))
        << "those that the configuration names are not the dataset's";
    EXPECT_EQ(ClassScheme("", "dataset", named("null")).output().values, (std::vector<std::int32_t>{1, 4, 2}));
    const auto refused = [&](const std::string& order) {
        try {
            ClassScheme("", "dataset", named(order));
        } catch (const InputError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    EXPECT_TRUE(says(refused("[1, 5]"), "for each of the 3 regions (whole, enhancing, core)")) << refused("[1, 5]");
    EXPECT_TRUE(says(refused("[1, 5, 2.5]"), "regions_class_order = [1,5,2.5]"));
    EXPECT_TRUE(says(refused("5"), "regions_class_order = 5"));
    EXPECT_TRUE(says(refused("[4, 5, 2]"), "writes whole as 4, expected")) << refused("[4, 5, 2]");
    EXPECT_TRUE(says(refused("[1, 2, 5]"), "writes enhancing as 2, expected"));
}

/// What is written for a voxel is evaluated as the regions that the network marked, where these lie within each other.
TEST(ClassScheme, WrittenLabelsAreOfTheMarkedRegions) {
    const ClassScheme scheme("", "whole=1+2+4, core=2+4, enhancing=4", {});
    for (int marked = 0; marked <= 3; ++marked) {
        std::vector<float> logits{-1, -1, -1};
        std::fill_n(logits.begin(), marked, 1.0f);
        const std::int32_t label = label_of_logits(logits, scheme.output().values, true);
        for (int k = 0; k < 3; ++k)
            EXPECT_EQ(scheme.classes()[static_cast<std::size_t>(k)].holds(label), k < marked) << marked << ", " << k;
    }
}

TEST(ClassScheme, WhatCannotBeTrainedOnIsRefused) {
    EXPECT_TRUE(says(refusal("a=1", "b=2"), "both given"));
    EXPECT_TRUE(says(refusal("a=1+2,b=2", ""), "a and b both hold 2"));
    EXPECT_TRUE(says(refusal("", "core=2,whole=1+2,again=1"), "core lies within later ones"));
    std::string many = "c1=1";
    for (int k = 2; k <= 32; ++k) many += ",c" + std::to_string(k) + "=" + std::to_string(k);
    EXPECT_TRUE(says(refusal(many, ""), "at most 31"));
    EXPECT_FALSE(ClassScheme().any());
    EXPECT_EQ(ClassScheme().outputs(), 1);
}

TEST(ClassScheme, LabelFilesWithOtherValuesAreRefusedByValueAndFile) {
    const ClassScheme scheme("edema=1", "", {});
    try {
        scheme.map_of(file_of({0, 1, 4, 4}), "scans/a.nii.gz", {});
        FAIL();
    } catch (const InputError& error) {
        EXPECT_TRUE(says(error.what(), "scans/a.nii.gz holds 4 (2 voxels)")) << error.what();
    }
    // What the dataset names, but is no class, is background; what it calls ignore is none.
    const LabelNames names = named(R"({"background": 0, "edema": 1, "liver": 4, "ignore": 5})");
    EXPECT_EQ(scheme.map_of(file_of({1, 4, 5}), "a", names), (std::vector<std::uint8_t>{1, 0, 0}));
    EXPECT_THROW(scheme.map_of(file_of({6}), "a", names), InputError);
}

PreparedCase scan_of(const std::vector<std::uint8_t>& map, const Extent& shape, int labels) {
    PreparedCase scan;
    scan.name = "made";
    scan.geometry.shape = shape;
    scan.channels = 1;
    scan.image.assign(map.size(), 1);
    scan.minimum = {0};
    scan.lesions = list_class_components(map, labels, shape, 26);
    return scan;
}

TEST(ClassSampling, PatchesHoldTheLabelsOfClasses) {
    std::mt19937 random(std::random_device{}());
    const Extent shape{11, 9, 13};
    std::vector<std::uint8_t> map(11 * 9 * 13);
    for (std::uint8_t& voxel : map) voxel = random() % 4 == 0 ? 1 + random() % 5 : 0;
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch}) {
        SamplingOptions options;
        options.patch = {5, 7, 6};
        options.batch = 3;
        options.components = mode;
        PreparedCase scan = scan_of(map, shape, 5);
        scan.ignored.assign(map.size(), 0);
        scan.ignored[500] = 1;
        const PatchSampler sampler({scan}, options);
        Batch batch;
        for (std::uint64_t step = 0; step < 20; ++step) {
            sampler.draw(step, batch);
            const std::vector<PatchPlace> places = sampler.places(step);
            EXPECT_GT(batch.stride, *std::max_element(batch.labels.begin(), batch.labels.end()));
            for (std::int64_t n = 0; n < 3; ++n)
                for (std::int64_t d = 0; d < 5; ++d)
                    for (std::int64_t h = 0; h < 7; ++h)
                        for (std::int64_t w = 0; w < 6; ++w) {
                            const Extent& first = places[static_cast<std::size_t>(n)].first;
                            const Extent at{first[0] + d, first[1] + h, first[2] + w};
                            bool inside = true;
                            for (int a = 0; a < 3; ++a) inside &= at[a] >= 0 && at[a] < shape[a];
                            const std::int64_t voxel = (at[0] * 9 + at[1]) * 13 + at[2];
                            const std::int32_t expected = !inside               ? 0
                                                          : scan.ignored[voxel] ? kIgnoredLabel
                                                                                : map[voxel];
                            ASSERT_EQ(batch.labels[((n * 5 + d) * 7 + h) * 6 + w], expected);
                        }
        }
    }
}

TEST(ClassSampling, EachClassIsDrawnAlikeHoweverFewItsLesionsAre) {
    const Extent shape{20, 20, 20};
    std::vector<std::uint8_t> map(8000);
    for (int i = 0; i < 9; ++i)
        for (int j = 0; j < 9; ++j) map[(2 * i * 20 + 2 * j) * 20] = 1;  // 81 lesions of a voxel
    map[19 * 400 + 19 * 20 + 19] = 3;
    SamplingOptions options;
    options.patch = {1, 1, 1};
    options.batch = 1;
    options.nonzero_fraction = 1;
    const PatchSampler sampler({scan_of(map, shape, 3)}, options);
    std::map<int, int> drawn;
    Batch batch;
    for (std::uint64_t step = 0; step < 2000; ++step) {
        sampler.draw(step, batch);
        ++drawn[batch.labels[0]];
    }
    EXPECT_EQ(drawn[1] + drawn[3], 2000);
    EXPECT_NEAR(drawn[3], 1000, 150);  // six deviations of 22
}

TEST(ClassComponents, AreThoseOfEachLabelByItself) {
    // Two labels side by side are two components, of one label one.
    const ComponentList list = list_class_components({1, 2, 2, 0, 1}, 2, {1, 1, 5}, 26);
    EXPECT_EQ(list.size(), 3);
    EXPECT_EQ(list.classes, (std::vector<std::int32_t>{1, 1, 2}));
    std::vector<std::int32_t> labels(5);
    write_labels(list, labels.data());
    EXPECT_EQ(labels, (std::vector<std::int32_t>{1, 2, 2, 0, 1}));
    EXPECT_EQ(list.largest_label(), 2);
}

}  // namespace
}  // namespace iwseg
