#include "models/prediction_settings.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

std::map<std::string, std::string> prediction(const std::string& changed_key = "", const std::string& value = "") {
    std::string text = "{";
    for (const auto& [key, usual] : {std::pair<std::string, std::string>("intensity", "\"zscore\""),
                                     {"nan", "null"},
                                     {"mask_channel", "\"\""},
                                     {"patch", "160"},
                                     {"stride", "144"},
                                     {"precision", "\"fp32\""},
                                     {"tf32", "true"}})
        if (key != changed_key || !value.empty())
            text += (text.size() > 1 ? ", \"" : "\"") + key + "\": " + (key == changed_key ? value : usual);
    return {{"prediction", text + "}"}};
}

TEST(PredictionSettings, AreReadAsTheyWereWritten) {
    PredictionSettings settings;
    settings.intensity = {Intensity::Kind::window, -1000.5, 1e-3};
    settings.nan = 0.1f;
    settings.channels = {"FLAIR", "T1 \"post\""};
    settings.mask_channel = "brain";
    settings.grid = {96, 33, true};
    settings.tf32 = true;
    const PredictionSettings read = settings_in(metadata_of(settings), "w");
    EXPECT_EQ(read.intensity, settings.intensity);
    EXPECT_EQ(read.nan, settings.nan);
    EXPECT_EQ(read.channels, settings.channels);
    EXPECT_EQ(read.mask_channel, settings.mask_channel);
    EXPECT_EQ(read.grid.patch, 96);
    EXPECT_EQ(read.grid.stride, 33);
    EXPECT_TRUE(read.grid.bf16 && read.tf32);
    EXPECT_EQ(read.rule, DetectionRule());
}

TEST(PredictionSettings, WhatCannotBeUsedIsRefusedByItsKey) {
    struct Bad {
        const char *key, *value;
    };
    for (const Bad& bad : {Bad{"intensity", "\"minmax\""}, Bad{"intensity", "{\"window\": [3, 3]}"},
                           Bad{"intensity", "{\"window\": [1, 2], \"x\": 1}"}, Bad{"intensity", "7"},
                           Bad{"nan", "\"refuse\""}, Bad{"nan", "1e39"}, Bad{"mask_channel", "1"}, Bad{"patch", "7"},
                           Bad{"patch", "16.5"}, Bad{"patch", "1e30"}, Bad{"stride", "0"}, Bad{"stride", "161"},
                           Bad{"precision", "\"fp16\""}, Bad{"tf32", "1"}, Bad{"nan", ""}, Bad{"tf32", ""}}) {
        const std::string text = refusal([&] { settings_in(prediction(bad.key, bad.value), "w.safetensors"); });
        EXPECT_NE(text.find(bad.key), std::string::npos) << text;
        EXPECT_TRUE(text.starts_with("w.safetensors")) << text;
    }
    EXPECT_NO_THROW(settings_in(prediction(), "w"));
}

TEST(PredictionSettings, AKeyThatIsNotKnownIsRefusedAsTheResultWouldBeAnother) {
    const std::string text = refusal([] {
        settings_in({{"prediction", R"({"intensity": "none", "nan": null, "mask_channel": "",
            "patch": 16, "stride": 16, "precision": "fp32", "tf32": false, "spacing": [1, 1, 1]})"}},
                    "w");
    });
    EXPECT_NE(text.find("spacing, which this version does not know"), std::string::npos) << text;
}

TEST(PredictionSettings, WhatLiesDeepIsRefusedWithoutAsDeepAStack) {
    const std::string deep = std::string(2000000, '[') + std::string(2000000, ']');
    for (const std::string& value : {deep, "{\"window\": " + deep + "}", "\"" + std::string(5000000, 'x') + "\""}) {
        const std::string text = refusal([&] { settings_in(prediction("intensity", value), "w"); });
        EXPECT_NE(text.find("intensity is"), std::string::npos);
        EXPECT_LT(text.size(), 300u);
    }
    EXPECT_NE(refusal([&] { settings_in({{"config", "intensity = " + deep + "\n"}}, "w"); }), "");
}

TEST(PredictionSettings, AnOlderFilesConfigurationIsReadLineByLine) {
    const std::string config =
        "loss = \"iwdl\"\npatch = [24, 24, 24]\nintensity = { window = [-1000, 300] }\nnan = \"refuse\"\n"
        "precision = \"bf16\"\npredict.patch = 48\npredict.stride = 40\nsplit.train = [\"a = b\", \"c\"]\n";
    const PredictionSettings read = settings_in({{"config", config}}, "w");
    EXPECT_EQ(read.intensity, (Intensity{Intensity::Kind::window, -1000, 300}));
    EXPECT_FALSE(read.nan);
    EXPECT_EQ(read.grid.patch, 48);
    EXPECT_EQ(read.grid.stride, 40);
    EXPECT_TRUE(read.grid.bf16 && read.tf32);
    for (const char* bad : {"[predict]\npatch = 48\n", "intensity = zscore\n", "nan = inf\n", "predict.patch = '48'\n",
                            "intensity = { window = [-1000, }\n", "predict.patch\n"}) {
        const std::string text = refusal([&] { settings_in({{"config", bad}}, "w"); });
        EXPECT_NE(text.find("config"), std::string::npos) << text;
    }
}

TEST(PredictionSettings, TheRuleOfMasksIsTheOperatingPoints) {
    auto metadata = prediction();
    metadata["operating_point"] = R"({"threshold": 0.35, "min_volume": 12.5, "step": 7, "f1": 0.5})";
    EXPECT_EQ(settings_in(metadata, "w").rule, (DetectionRule{0.35f, 12.5}));
    for (const char* bad : {"", "[]", R"({"threshold": 0.35})", R"({"threshold": 1.5, "min_volume": 0})",
                            R"({"threshold": 0.5, "min_volume": -1})"}) {
        metadata["operating_point"] = bad;
        EXPECT_NE(refusal([&] { settings_in(metadata, "w"); }).find("operating_point"), std::string::npos);
    }
}

}  // namespace
}  // namespace iwseg
