#include "apps/config/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <sstream>

#include "apps/config/config_keys.h"
#include "apps/config/config_table.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "losses/loss.h"

namespace iwseg {
namespace {

/// The sentence of the InputError that the work throws; empty where it throws none.
template <class Work>
std::string refusal(Work&& work) {
    try {
        work();
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

std::string setting_refusal(const std::string& setting) {
    return refusal([&] { resolve_config(std::nullopt, {setting}); });
}

std::string text_refusal(const std::string& text) {
    return refusal([&] {
        Config config;
        apply_toml(config, text, "lesions.toml");
        check_config(config);
    });
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

Config random_config(std::mt19937_64& random) {
    const auto number = [&](double low, double high) { return std::uniform_real_distribution(low, high)(random); };
    const auto whole = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
    Config config;
    config.loss = whole(0, 1) ? "bce" : "iwasl";
    config.focal_alpha = number(0, 1);
    config.widths = {whole(1, 64), whole(1, 64), whole(1, 64), whole(1, 64)};
    config.patch = {8 * whole(2, 20), 8 * whole(2, 20), 8 * whole(2, 20)};
    config.learning_rate = std::exp(number(-20, 3));
    config.lr_schedule.clear();
    for (int i = whole(0, 3); i > 0; --i) config.lr_schedule.push_back({whole(0, 99), number(0.01, 2)});
    config.seed = random() >> 1;
    config.weight_clip = {number(0.1, 2), number(3, 1e7)};
    config.channels = {"FLAIR \"quoted\"\\", "0", "Läsion"};
    config.intensity = {static_cast<Intensity::Kind>(whole(0, 2)), 0, 1};
    if (config.intensity.kind == Intensity::Kind::window) {
        config.intensity.low = number(-1000, 0);
        config.intensity.high = number(1, 1000);
    }
    config.labels = {1, whole(2, 9)};
    config.augment = {whole(0, 1) == 1, whole(0, 1) == 1};
    config.split = {{"a", "b"}, {}, {"c"}};
    config.predict = {96, whole(1, 96)};
    return config;
}

TEST(Config, WrittenAndReadBackIsTheSame) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < 50; ++trial) {
        const Config config = random_config(random);
        Config read;
        apply_toml(read, config_toml(config), "config.toml");
        EXPECT_EQ(differing_keys(config, read), std::vector<std::string>{}) << config_toml(config);
        EXPECT_EQ(config.learning_rate, read.learning_rate);
        EXPECT_EQ(config.channels, read.channels);
        EXPECT_EQ(config.split, read.split);
        EXPECT_EQ(config.seed, read.seed);
        EXPECT_EQ(config.lr_schedule, read.lr_schedule);
    }
}

TEST(Config, DefaultsArePublishedOnes) {
    const Config config;
    check_config(config);
    EXPECT_EQ(config.seed, 0xBADCAFEu);
    EXPECT_EQ(config.steps(), 10000);
    EXPECT_DOUBLE_EQ(config.learning_rate_at(7999), 1e-2);
    EXPECT_DOUBLE_EQ(config.learning_rate_at(8000), 1e-3);
}

TEST(Config, SettingIsATomlValueOrABareWord) {
    const Config config = resolve_config(
        std::nullopt, {"loss=iwfl", "patch=[16,24,32]", "learning_rate=3e-4", "seed=0xBadCafe", "predict.patch=64",
                       "predict.stride=32", "intensity={window=[-300, 300]}", "channels=[\"FLAIR\", 1]",
                       "augment.flip=true", "nesterov=false", "mask_channel=\"lungs\""});
    EXPECT_EQ(config.loss, "iwfl");
    EXPECT_EQ(config.patch, (std::array<std::int64_t, 3>{16, 24, 32}));
    EXPECT_EQ(config.learning_rate, 3e-4);
    EXPECT_EQ(config.seed, 0xBadCafeu);
    EXPECT_EQ(config.predict.patch, 64);
    EXPECT_EQ(config.predict.stride, 32);
    EXPECT_EQ(config.intensity, (Intensity{Intensity::Kind::window, -300, 300}));
    EXPECT_EQ(config.channels, (std::vector<std::string>{"FLAIR", "1"}));
    EXPECT_TRUE(config.augment.flip);
    EXPECT_FALSE(config.nesterov);
    EXPECT_EQ(config.mask_channel, "lungs");
    EXPECT_EQ(resolve_config(std::nullopt, {"patch=64"}).patch, (std::array<std::int64_t, 3>{64, 64, 64}));
}

TEST(Config, SplitIsANameOrListsOfCases) {
    Config base;
    apply_toml(base, "split = \"holdout\"\n", "lesions.toml");
    EXPECT_EQ(base.split_name, "holdout");
    Config read;
    apply_toml(read, config_toml(base), "config.toml");
    EXPECT_EQ(differing_keys(base, read), std::vector<std::string>{}) << config_toml(base);
    EXPECT_EQ(differing_keys(base, Config{}), std::vector<std::string>{"split"});
    const Config lists = resolve_config(std::nullopt, {"split.train=[\"a\"]", "split.test=[\"b\"]"}, base);
    EXPECT_EQ(lists.split_name, "");
    EXPECT_EQ(lists.split, (Split{{"a"}, {}, {"b"}}));
    const Config named = resolve_config(std::nullopt, {"split=validation"}, lists);
    EXPECT_EQ(named.split_name, "validation");
    EXPECT_EQ(named.split, Split{});
    EXPECT_TRUE(contains(setting_refusal("split=3"), "split is 3, but the name of a split or a table was expected"));
    EXPECT_TRUE(contains(setting_refusal("split.tain=[]"), "did you mean split.train?"));
}

TEST(Config, LaterSettingsWinOverTheFile) {
    Config base;
    apply_toml(base, "batch = 3\nepochs = 7\n[predict]\npatch = 96\nstride = 96\n", "lesions.toml");
    const Config config = resolve_config(std::nullopt, {"batch=4", "batch=5"}, base);
    EXPECT_EQ(config.batch, 5);
    EXPECT_EQ(config.epochs, 7);
    EXPECT_EQ(config.predict.patch, 96);
}

TEST(Config, UnknownKeyNamesTheNearest) {
    EXPECT_EQ(text_refusal("batch = 2\nlerning_rate = 1e-3\n"),
              "lesions.toml, line 2: unknown key lerning_rate; did you mean learning_rate?");
    EXPECT_EQ(text_refusal("predict = {pach = 64}\n"),
              "lesions.toml, line 1: unknown key predict.pach; did you mean "
              "predict.patch?");
    EXPECT_TRUE(contains(setting_refusal("epoch=3"), "did you mean epochs?"));
    EXPECT_TRUE(contains(setting_refusal("zzzzzzzzzz=3"), "unknown key zzzzzzzzzz"));
    EXPECT_TRUE(contains(setting_refusal("los=iwdl"), "did you mean loss?"));
}

TEST(Config, UnknownLossNamesTheNearest) {
    EXPECT_TRUE(contains(setting_refusal("loss=iwdll"), "iwdl"));
}

TEST(Config, ASumOfLossesNeedsNoQuotationMarks) {
    EXPECT_EQ(resolve_config(std::nullopt, {"loss=dice + 0.5*iwce"}).loss, "dice + 0.5*iwce");
    EXPECT_TRUE(contains(setting_refusal("loss=dise + ce"), "(nearest: 'dice')"));
}

TEST(Config, OneLossIsOneConfigurationHoweverItIsSpelled) {
    const Config begun = resolve_config(std::nullopt, {"loss=dice + 0.5*ce"});
    for (const char* same : {"loss=dice+0.5*ce", "loss=0.50*bce + dice", "loss=0.25*ce+1.0*dice + 2.5e-1 * ce"}) {
        const Config again = resolve_config(std::nullopt, {same}, begun);
        EXPECT_TRUE(differing_keys(begun, again).empty()) << same << " became " << again.loss;
    }
    EXPECT_EQ(resolve_config(std::nullopt, {"loss=bce"}).loss, "bce");  // the study's own word
}

TEST(Config, WrongTypeNamesKeyValueAndWhatWasExpected) {
    EXPECT_EQ(text_refusal("\nbatch = \"two\"\n"),
              "lesions.toml, line 2: batch is \"two\", but a whole number was expected");
    EXPECT_TRUE(contains(setting_refusal("batch=2.5"), "batch is 2.5, but a whole number was expected"));
    EXPECT_TRUE(contains(setting_refusal("loss=3"), "loss is 3, but a string was expected"));
    EXPECT_TRUE(contains(setting_refusal("widths=[16, 64, 128]"), "four whole numbers"));
    EXPECT_TRUE(contains(setting_refusal("network=unett"), "unet or plain_unet"));
    EXPECT_TRUE(contains(setting_refusal("predict=64"), "predict is 64, but a table was expected"));
    EXPECT_TRUE(contains(setting_refusal("intensity=bright"), "\"none\", \"zscore\" or {window = [lo, hi]}"));
    EXPECT_TRUE(contains(setting_refusal("seed=-1"), "a whole number from 0 up"));
    EXPECT_TRUE(contains(setting_refusal("batch=99999999999"), "batch is 99999999999"));
}

TEST(Config, SettingsOfTheCommandLineNeedNoQuotes) {
    const Config config = resolve_config(std::nullopt, {"loss=dice + 0.5*blob(tversky(0.2, 0.8)) @warmup 2"});
    EXPECT_EQ(config.loss, "dice + 0.5*blob(tversky(0.2, 0.8)) @warmup 2");
    EXPECT_EQ(resolve_config(std::nullopt, {"classes=edema=1, tumour=2+3"}).classes, "edema=1, tumour=2+3");
}

TEST(Config, BadTomlNamesFileAndLine) {
    EXPECT_TRUE(text_refusal("batch = 2\nepochs = [\n").starts_with("lesions.toml, line "));
    EXPECT_TRUE(contains(setting_refusal("patch=[8,"), "[8, is not a TOML value"));
    EXPECT_TRUE(contains(setting_refusal("batch"), "expected key=value"));
    EXPECT_TRUE(contains(setting_refusal("=3"), "expected key=value"));
}

// Else a configuration passes that its training refuses, or the other way round.
TEST(Config, RangesOfALossAreThoseOfTheLosses) {
    const auto refused = [](const std::string& key, double value) {
        const bool by_config = !setting_refusal(fmt::format("{}={}", key, value)).empty();
        LossOptions options;
        (key == "focal_alpha"   ? options.focal_alpha
         : key == "focal_gamma" ? options.focal_gamma
                                : options.asl_beta) = static_cast<float>(value);
        EXPECT_EQ(by_config, !refusal([&] { loss_from_name("iwfl", options); }).empty()) << key << " = " << value;
        return by_config;
    };
    for (const auto& [key, range] : {std::pair{"focal_alpha", LossOptions::kFocalAlphaRange},
                                     {"focal_gamma", LossOptions::kFocalGammaRange},
                                     {"asl_beta", LossOptions::kAslBetaRange}}) {
        const double out = range.high / 1e5;  // that f32 tells from the bounds
        EXPECT_FALSE(refused(key, range.low) || refused(key, range.high) || refused(key, (range.low + range.high) / 2));
        EXPECT_TRUE(refused(key, range.low - out) && refused(key, range.high + out) && refused(key, NAN));
    }
}

TEST(Config, UnusableValuesAreRefusedByName) {
    for (const std::string setting : {"patch=[60,64,64]",  "patch=0",
                                      "patch=-8",          "widths=[0,1,1,1]",
                                      "batch=0",           "epochs=0",
                                      "steps_per_epoch=0", "learning_rate=0",
                                      "learning_rate=inf", "learning_rate=nan",
                                      "momentum=1",        "weight_decay=-1",
                                      "precision=fp16",    "nonzero_fraction=1.5",
                                      "components=scan",   "connectivity=8",
                                      "weight_clip=[2,1]", "predict.stride=161",
                                      "predict.patch=0",   "intensity={window=[1,1]}",
                                      "labels=[0]",        "lr_schedule=[[-1,0.1]]",
                                      "workers=-1",        "split.test=[\"a\"]"}) {
        const std::string key = setting.substr(0, setting.find_first_of("=."));
        EXPECT_TRUE(setting_refusal(setting).starts_with(key)) << setting << ": " << setting_refusal(setting);
    }
    EXPECT_TRUE(contains(setting_refusal("patch=[60,64,64]"), "patch = [60, 64, 64] is not usable"));
    // The deepest level would normalise over a single voxel.
    EXPECT_TRUE(contains(refusal([] { resolve_config(std::nullopt, {"patch=8", "batch=1"}); }), "patch = [8, 8, 8]"));
}

/// The words of "6, 18 or 26".
std::vector<std::string> choices(std::string text) {
    for (std::size_t at; (at = text.find(" or ")) != std::string::npos;) text.replace(at, 4, ", ");
    std::vector<std::string> words;
    std::istringstream rest(text);
    for (std::string word; rest >> word;) words.push_back(word.ends_with(',') ? word.substr(0, word.size() - 1) : word);
    return words;
}

TEST(ConfigTable, EveryKeyOfAConfigurationIsInIt) {
    const std::string table = config_table(), document = config_markdown();
    std::istringstream keys(config_toml(Config{}));
    for (std::string line; std::getline(keys, line);) {
        const std::string key = line.substr(0, line.find(' '));
        EXPECT_TRUE(contains(table, "\n" + key + " ")) << key;
        EXPECT_TRUE(contains(document, "\n| `" + key + "` |")) << key;
    }
}

TEST(ConfigTable, NamesTheValuesThatAreAccepted) {
    int keys = 0;
    const Config defaults;
    for_each_key(defaults, [&](const std::string& key, const auto&, KeyText text) {
        if (key != "loss" && key != "precision" && key != "components" && key != "connectivity") return;
        ++keys;
        const std::vector<std::string> words = choices(text.unit);
        EXPECT_GE(words.size(), 2u) << text.unit;
        for (const std::string& word : words) EXPECT_EQ(setting_refusal(key + "=" + word), "") << key;
        if (key == "loss") {
            EXPECT_EQ(std::set<std::string>(words.begin(), words.end()),
                      std::set<std::string>(loss_names().begin(), loss_names().end()));
        }
    });
    EXPECT_EQ(keys, 4);
}

TEST(ConfigTable, FitsTheWidthItIsGiven) {
    for (const std::size_t width : {62u, 80u, 120u}) {
        std::istringstream table(config_table(width));
        for (std::string line; std::getline(table, line);) {
            const auto characters = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
            EXPECT_LE(characters, static_cast<std::ptrdiff_t>(width)) << line;
            EXPECT_FALSE(line.ends_with(' ')) << line;
        }
    }
}

TEST(ConfigTable, TheDocumentIsWhatTheProgramPrints) {
    EXPECT_EQ(read_text(IWSEG_SOURCE_DIR "/docs/configuration.md"), config_markdown())
        << "after a change of keys: iwseg train --keys=markdown > docs/configuration.md";
}

}  // namespace
}  // namespace iwseg
