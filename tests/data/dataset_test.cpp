#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <limits>
#include <random>
#include <set>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/channel_choice.h"
#include "data/preparation.h"
#include "kernels/device/memory.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Names = std::vector<std::string>;
using Numbers = std::vector<std::int64_t>;

class DatasetFolder : public testing::Test {
  protected:
    DatasetFolder() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_dataset_" + std::to_string(std::random_device{}()));
        for (const char* sub : {"imagesTr", "labelsTr", "imagesTs"}) std::filesystem::create_directories(folder_ / sub);
        std::cout << "seed " << seed_ << "\n";
    }
    ~DatasetFolder() override { std::filesystem::remove_all(folder_); }

    void describe(const std::string& text = R"({"channel_names": {"0": "FLAIR", "1": "T1"}, "file_ending": ".nii"})") {
        write_text(folder_ / "dataset.json", text);
    }

    /// A case with two channels and a label, every voxel drawn by the functions.
    void add_case(const std::string& name, const std::string& images = "imagesTr") {
        Volume<float> image;
        image.geometry.shape = shape_;
        image.voxels.resize(static_cast<std::size_t>(image.geometry.voxels()));
        for (const char* channel : {"_0000.nii", "_0001.nii"}) {
            std::normal_distribution<float> value(100, 20);
            for (float& voxel : image.voxels) voxel = random_() % 4 ? value(random_) : 0;
            write_volume(folder_ / images / (name + channel), image);
        }
        if (images == "imagesTr")
            write_label(name, [this](std::size_t) { return static_cast<std::int32_t>(random_() % 3); });
    }

    void write_label(const std::string& name, const std::function<std::int32_t(std::size_t)>& value) {
        Volume<std::int32_t> label;
        label.geometry.shape = shape_;
        for (std::size_t v = 0; v < static_cast<std::size_t>(label.geometry.voxels()); ++v)
            label.voxels.push_back(value(v));
        write_volume(folder_ / "labelsTr" / (name + ".nii"), label);
    }

    void write_channel(const std::string& file, float odd, float rest) {
        Volume<float> image;
        image.geometry.shape = shape_;
        image.voxels.assign(static_cast<std::size_t>(image.geometry.voxels()), rest);
        image.voxels[7] = odd;
        write_volume(folder_ / "imagesTr" / file, image);
    }

    path folder_;
    std::array<std::int64_t, 3> shape_{6, 5, 4};
    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
};

TEST_F(DatasetFolder, RegionsAreInTheOrderOfItsFile) {
    describe(R"({"channel_names": {"0": "FLAIR", "1": "T1"}, "file_ending": ".nii", "regions_class_order": [1, 3, 2],
                 "labels": {"background": 0, "whole": [1, 2, 3], "rim": [3], "core": [2]}})");
    add_case("a");
    const LabelNames names = open_dataset(folder_).label_names;
    EXPECT_EQ(label_classes_text(read_label_classes("dataset", names, "regions")), "whole=1+2+3, rim=3, core=2");
    EXPECT_EQ(names.region_values, (std::vector<std::int32_t>{1, 3, 2}));
}

TEST_F(DatasetFolder, CasesChannelsAndLabelsAreListedByName) {
    describe();
    for (const char* name : {"b", "a", "c"}) add_case(name);
    add_case("held_out", "imagesTs");
    std::filesystem::remove(folder_ / "labelsTr/c.nii");
    const Dataset dataset = open_dataset(folder_);
    ASSERT_EQ(dataset.cases.size(), 3u);
    EXPECT_EQ(dataset.cases[0].name, "a");
    EXPECT_EQ(dataset.cases[1].images[1], folder_ / "imagesTr/b_0001.nii");
    EXPECT_TRUE(dataset.cases[1].label);
    EXPECT_FALSE(dataset.cases[2].label);
    EXPECT_EQ(dataset.find("held_out").images.size(), 2u);
    EXPECT_EQ(dataset.channels, (Names{"FLAIR", "T1"}));
    EXPECT_EQ(dataset.name, folder_.filename().string());
}

TEST_F(DatasetFolder, DecathlonFoldersHoldChannelsInAFourthAxis) {
    describe(R"({"name": "Lesions", "modality": {"0": "FLAIR", "1": "T1"}, "test": ["./imagesTs/q.nii.gz"],
                 "training": [{"image": "./imagesTr/x.nii", "label": "./labelsTr/x.nii"}]})");
    // One file of shape (6, 5, 4, 2) is one of shape (6, 5, 8) with other dimensions in its header.
    Volume<float> both;
    both.geometry.shape = {6, 5, 8};
    both.voxels.resize(240);
    for (std::size_t v = 0; v < 240; ++v) both.voxels[v] = static_cast<float>(v);
    write_volume(folder_ / "imagesTr/x.nii", both);
    std::string bytes = read_text(folder_ / "imagesTr/x.nii");
    bytes[40] = 4, bytes[46] = 4, bytes[48] = 2;
    write_text(folder_ / "imagesTr/x.nii", bytes);
    write_label("x", [](std::size_t v) { return v == 3; });
    write_text(folder_ / "imagesTs/q.nii.gz", "");
    const Dataset dataset = open_dataset(folder_);
    EXPECT_EQ(dataset.name, "Lesions");
    EXPECT_EQ(dataset.test_cases[0].name, "q");
    const PreparedCase scan = prepare_case(dataset, dataset.find("x"), {});
    ASSERT_EQ(scan.channels, 2);
    // Voxel (2, 3, 1) of channel 1 is (2, 3, 4 + 1) of the file of three axes.
    EXPECT_EQ(scan.image[120 + (2 * 5 + 3) * 4 + 1], static_cast<float>((2 * 5 + 3) * 8 + 5));
    EXPECT_EQ(scan.lesions.size(), 1);

    Dataset other = dataset;
    other.channels = {"FLAIR"};
    EXPECT_TRUE(says(refusal([&] { prepare_case(other, other.find("x"), {}); }), "x.nii"));
    for (const Names& names : {Names{"FLAIR", "T1", "T2"}, Names{"FLAIR", "T1", "T2", "PD"}}) {
        other.channels = names;
        const std::string found = "holds 2 channels along its fourth axis";
        EXPECT_TRUE(says(refusal([&] { prepare_case(other, other.find("x"), {}); }), found));
        EXPECT_TRUE(says(refusal([&] { memory_of_cases(other, {"x"}, {}); }), found)) << "before the work";
    }
}

TEST_F(DatasetFolder, ChannelsOfAnotherDatasetMatchByTheirNames) {
    describe(R"({"channel_names": ["t1", "Flair", "lungs"], "file_ending": ".nii"})");
    write_text(folder_ / "imagesTr/a_0000.nii", ""), write_text(folder_ / "imagesTr/a_0001.nii", "");
    write_text(folder_ / "imagesTr/a_0002.nii", "");
    const Dataset dataset = open_dataset(folder_);
    std::string note;
    PreparationOptions options;
    options.mask_channel = "lungs";
    EXPECT_EQ(match_channels(dataset, {"FLAIR", "T1"}, options, note), (Numbers{1, 0}));
    EXPECT_EQ(note, "");
    EXPECT_EQ(match_channels(dataset, {"CT", "PET"}, options, note), (Numbers{0, 1}));
    EXPECT_TRUE(says(note, "by their position") && says(note, "CT, PET")) << note;
    // Some by name and some not, or none and another number: there is no telling.
    for (const Names& trained : {Names{"FLAIR", "T2"}, Names{"CT"}, Names{"CT", "PET", "MR"}})
        EXPECT_TRUE(says(refusal([&] { match_channels(dataset, trained, options, note); }), "channels do not match"));
}

Dataset with_channels(const Names& channels) {
    Dataset dataset;
    dataset.folder = "somewhere";
    dataset.channels = channels;
    return dataset;
}

TEST(Channels, OfOneNameAreTakenInTheirOrder) {
    std::string note;
    EXPECT_EQ(match_channels(with_channels({"MRI", "MRI"}), {"MRI", "MRI"}, {}, note), (Numbers{0, 1}));
    EXPECT_EQ(match_channels(with_channels({"CT", "MRI", "PET", "MRI"}), {"MRI", "CT", "MRI"}, {}, note),
              (Numbers{1, 0, 3}));
    EXPECT_EQ(match_channels(with_channels({"CT", "mri", "mri"}), {"MRI", "MRI"}, {}, note), (Numbers{1, 2}));
    EXPECT_EQ(note, "");
}

TEST(Channels, TheSameLettersMatchBeforeThoseInOtherCase) {
    std::string note;
    EXPECT_EQ(match_channels(with_channels({"t1", "T1"}), {"t1", "T1"}, {}, note), (Numbers{0, 1}));
    EXPECT_EQ(match_channels(with_channels({"T1", "t1", "CT"}), {"t1", "T1"}, {}, note), (Numbers{1, 0}));
    EXPECT_EQ(match_channels(with_channels({"t1", "T1"}), {"T1"}, {}, note), (Numbers{1}));
    EXPECT_EQ(note, "");
}

TEST(Channels, ThatANameLeavesOpenAreRefused) {
    std::string note;
    const std::vector<std::pair<Names, Names>> of{
        {{"MRI", "MRI"}, {"MRI"}},  // which of the two
        {{"MRI"}, {"MRI", "MRI"}},  // one in place of two
        {{"MRI", "MRI", "MRI"}, {"MRI", "MRI"}},
        {{"Flair", "flair"}, {"FLAIR"}},  // both the same but for their case
        {{"T1"}, {"t1", "T1"}},           // one channel twice
    };
    for (const auto& one : of) {
        const std::string why = refusal([&] { match_channels(with_channels(one.first), one.second, {}, note); });
        EXPECT_TRUE(says(why, "is not clear") && says(why, "the network was trained on")) << why;
    }
}

TEST(Channels, OfOneNameAreChosenByNumberAndNotByName) {
    const Dataset dataset = with_channels({"MRI", "MRI"});
    PreparationOptions options;
    options.channels = {"1"};
    std::string note;
    EXPECT_EQ(selected_channels(dataset, options), (Numbers{1}));
    EXPECT_EQ(match_channels(dataset, {"MRI"}, options, note), (Numbers{1})) << "as it was trained";
    options.channels = {"MRI"};
    EXPECT_TRUE(says(refusal([&] { selected_channels(dataset, options); }), "give its number, 0 or 1"));
    options.channels = {};
    options.mask_channel = "1";
    EXPECT_EQ(match_channels(dataset, {"MRI"}, options, note), (Numbers{0})) << "the other is the mask";
    options.mask_channel = "MRI";
    EXPECT_TRUE(says(refusal([&] { selected_channels(dataset, options); }), "mask_channel names channel MRI"));
}

TEST_F(DatasetFolder, UnusableFoldersAreRefused) {
    EXPECT_TRUE(says(refusal([&] { open_dataset(folder_ / "absent"); }), "absent"));
    EXPECT_TRUE(says(refusal([&] { open_dataset(folder_); }), "dataset.json"));
    describe("{");
    EXPECT_TRUE(says(refusal([&] { open_dataset(folder_); }), "not valid JSON"));
    describe("{}");
    EXPECT_TRUE(says(refusal([&] { open_dataset(folder_); }), "channel_names"));
    describe();
    EXPECT_TRUE(says(refusal([&] { open_dataset(folder_); }), "no cases"));
    add_case("a");
    std::filesystem::remove(folder_ / "imagesTr/a_0001.nii");
    EXPECT_TRUE(says(refusal([&] { open_dataset(folder_); }), "a_0001.nii"));
}

Dataset named(const Names& names) {
    Dataset dataset{"somewhere", "test", {"CT"}, {}, {}};
    for (const std::string& name : names) dataset.cases.push_back({name, {name + ".nii"}, name + ".nii"});
    return dataset;
}

TEST(Split, DrawnSplitHoldsEveryCaseOnce) {
    for (int cases = 2; cases <= 60; ++cases) {
        Names names;
        for (int c = 0; c < cases; ++c) names.push_back("case_" + std::to_string(100 + c));
        const Dataset dataset = named(names);
        const unsigned seed = std::random_device{}();
        SCOPED_TRACE(testing::Message() << cases << " cases, seed " << seed);
        const Split split = make_split(dataset, std::nullopt, seed);
        EXPECT_EQ(split, make_split(dataset, std::nullopt, seed));
        std::multiset<std::string> all;
        for (const auto* part : {&split.train, &split.validation, &split.test}) all.insert(part->begin(), part->end());
        EXPECT_EQ(Names(all.begin(), all.end()), names);
        EXPECT_GE(split.train.size(), 1u);
        EXPECT_NEAR(static_cast<double>(split.test.size()), std::max(1.0, 0.2 * cases), 0.5);
        if (cases < 10) continue;
        EXPECT_NEAR(static_cast<double>(split.validation.size()), 0.1 * cases, 0.5);
    }
    EXPECT_TRUE(says(refusal([] { make_split(named({"only"}), std::nullopt, 1); }), "1 labelled case"));
}

TEST(Split, ConfiguredSplitIsChecked) {
    const Dataset dataset = named({"liver_1", "liver_2", "spleen_3"});
    const Split good{{"liver_1"}, {}, {"spleen_3"}};
    EXPECT_EQ(make_split(dataset, good, 1), good);
    EXPECT_TRUE(says(refusal([&] { make_split(dataset, Split{{"liver_1"}, {}, {"spleen_4"}}, 1); }), "spleen_3?"));
    EXPECT_TRUE(says(refusal([&] { make_split(dataset, Split{{"liver_1"}, {"liver_1"}, {}}, 1); }), "both"));
    EXPECT_TRUE(says(refusal([&] { make_split(dataset, Split{{}, {}, {"liver_1"}}, 1); }), "no case to train"));
}

TEST_F(DatasetFolder, SplitsFinalGivesItsFirstFold) {
    describe();
    for (const char* name : {"a", "b", "c"}) add_case(name);
    write_text(folder_ / "splits_final.json",
               R"([{"train": ["c", "a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}])");
    EXPECT_EQ(make_split(open_dataset(folder_), std::nullopt, 1), (Split{{"c", "a"}, {"b"}, {"b"}}));
    write_text(folder_ / "splits_final.json", R"({"train": []})");
    EXPECT_TRUE(says(refusal([&] { make_split(open_dataset(folder_), std::nullopt, 1); }), "splits_final.json"));
}

TEST_F(DatasetFolder, SplitsAreFoundByTheirName) {
    describe();
    for (const char* name : {"a", "b", "c"}) add_case(name);
    const Dataset dataset = open_dataset(folder_);
    EXPECT_TRUE(says(refusal([&] { named_split(dataset, "holdout"); }), "splits.json is missing"));
    write_text(folder_ / "splits.json", R"({"holdout": {"train": ["c", "a"], "validation": [], "test": ["b"]},
                                            "other": {"train": ["c"], "test": ["b"]}})");
    EXPECT_EQ(named_split(dataset, "holdout"), (Split{{"c", "a"}, {}, {"b"}}));
    EXPECT_TRUE(says(refusal([&] { named_split(dataset, "holdut"); }), "did you mean holdout?"));
    EXPECT_TRUE(says(refusal([&] { named_split(dataset, "zzzzzzzzzzz"); }), "it has holdout, other"));
    EXPECT_TRUE(says(refusal([&] { named_split(dataset, "other"); }), "splits.json must hold splits by name"));
    for (const char* text : {"[]", "{", "{\"holdout\": 3}"}) {
        write_text(folder_ / "splits.json", text);
        EXPECT_TRUE(says(refusal([&] { named_split(dataset, "holdout"); }), "splits.json")) << text;
    }
}

TEST_F(DatasetFolder, LesionCountsComeWithTheirCases) {
    const auto describe_counts = [&](const std::string& counts) {
        describe(R"({"channel_names": ["FLAIR", "T1"], "file_ending": ".nii", "lesion_counts": )" + counts + "}");
    };
    describe_counts(R"({"a": 7, "gone": 2})");
    for (const char* name : {"a", "b"}) add_case(name);
    const Dataset dataset = open_dataset(folder_);
    EXPECT_EQ(prepare_case(dataset, dataset.find("a"), {}).draws(), 7);
    const PreparedCase uncounted = prepare_case(dataset, dataset.find("b"), {});
    EXPECT_EQ(uncounted.draws(), uncounted.lesions.size());
    for (const char* counts :
         {"3", "[1]", R"({"a": -1})", R"({"a": 1.5})", R"({"a": "two"})", R"({"a": 99999999999})", "null"}) {
        describe_counts(counts);
        EXPECT_TRUE(says(refusal([&] { open_dataset(folder_); }), "dataset.json must give lesion_counts")) << counts;
    }
}

TEST_F(DatasetFolder, IntensityStepsMatchTheirDefinitions) {
    std::vector<float> values(1000);
    std::normal_distribution<float> draw(50, 30);
    for (float& value : values) value = random_() % 3 ? draw(random_) : 0.0f;
    double count = 0, sum = 0, squares = 0;
    for (const float value : values) count += value != 0, sum += value;
    for (const float value : values) squares += value != 0 ? std::pow(value - sum / count, 2) : 0;
    std::vector<float> scored = values, windowed = values;
    const float lowest = prepare_channel(scored, {}, {Intensity::Kind::zscore, 0, 1});
    EXPECT_EQ(lowest, *std::min_element(scored.begin(), scored.end()));
    prepare_channel(windowed, {}, {Intensity::Kind::window, 20, 70});
    for (std::size_t v = 0; v < values.size(); ++v) {
        ASSERT_NEAR(scored[v], (values[v] - sum / count) / std::sqrt(squares / count), 1e-5);
        ASSERT_NEAR(windowed[v], std::clamp((values[v] - 20.0) / 50.0, 0.0, 1.0), 1e-6);
    }
    std::vector<float> constant(10, 0.0f);
    prepare_channel(constant, {}, {Intensity::Kind::zscore, 0, 1});
    EXPECT_EQ(constant, std::vector<float>(10, 0.0f));
    EXPECT_THROW(prepare_channel(constant, {}, {Intensity::Kind::window, 1, 1}), InputError);
}

TEST_F(DatasetFolder, ChannelsAreSelectedByNameOrNumber) {
    describe();
    add_case("a");
    const Dataset dataset = open_dataset(folder_);
    PreparationOptions options;
    options.channels = {"T1", "0"};
    EXPECT_EQ(selected_channels(dataset, options), (std::vector<std::int64_t>{1, 0}));
    const PreparedCase swapped = prepare_case(dataset, dataset.cases[0], options);
    const PreparedCase plain = prepare_case(dataset, dataset.cases[0], {});
    EXPECT_TRUE(std::equal(plain.image.begin(), plain.image.begin() + 120, swapped.image.begin() + 120));
    options.channels = {"FLAR"};
    EXPECT_TRUE(says(refusal([&] { selected_channels(dataset, options); }), "did you mean FLAIR?"));
}

TEST_F(DatasetFolder, OutsideTheMaskChannelLiesTheMaskedMinimum) {
    describe();
    add_case("a");
    write_channel("a_0000.nii", -50.0f, 30.0f);
    Volume<float> mask;
    mask.geometry.shape = shape_;
    mask.voxels.assign(120, 1.0f);
    mask.voxels[11] = mask.voxels[12] = 0.0f;
    write_volume(folder_ / "imagesTr/a_0001.nii", mask);
    PreparationOptions options;
    options.mask_channel = "T1";
    const Dataset dataset = open_dataset(folder_);
    const PreparedCase scan = prepare_case(dataset, dataset.cases[0], options);
    EXPECT_EQ(scan.channels, 1);
    EXPECT_EQ(scan.image[11], -50.0f);
    EXPECT_EQ(scan.image[13], 30.0f);
}

TEST_F(DatasetFolder, ComponentListsHoldExactlyTheLesionVoxels) {
    describe();
    add_case("a");
    const Dataset dataset = open_dataset(folder_);
    PreparationOptions options;
    const Volume<std::int32_t> label = read_labels(*dataset.cases[0].label);
    for (const std::vector<int>& chosen : {std::vector<int>{}, {2}, {0, 1}}) {
        options.labels = chosen;
        options.connectivity = 6;
        const ComponentList lesions = prepare_case(dataset, dataset.cases[0], options).lesions;
        std::set<std::uint32_t> expected;
        for (std::uint32_t v = 0; v < label.voxels.size(); ++v)
            if (chosen.empty() ? label.voxels[v] > 0 : std::count(chosen.begin(), chosen.end(), label.voxels[v]) > 0)
                expected.insert(v);
        EXPECT_EQ(std::set<std::uint32_t>(lesions.voxels.begin(), lesions.voxels.end()), expected);
        EXPECT_EQ(lesions.voxels.size(), expected.size());
        EXPECT_EQ(lesions.offsets.back(), static_cast<std::int64_t>(expected.size()));
        std::uint32_t last_first = 0;
        for (std::int64_t c = 0; c < lesions.size(); ++c) {
            const auto begin = lesions.voxels.begin() + lesions.offsets[c],
                       end = lesions.voxels.begin() + lesions.offsets[c + 1];
            EXPECT_TRUE(std::is_sorted(begin, end));
            EXPECT_TRUE(c == 0 || *begin > last_first);
            last_first = *begin;
            std::int64_t first_k = 99;
            for (auto v = begin; v != end; ++v) first_k = std::min<std::int64_t>(first_k, *v % 4);
            EXPECT_EQ(lesions.boxes[c].first[2], first_k);
        }
    }
}

TEST_F(DatasetFolder, ScansThatDoNotFitInMemoryAreRefusedBeforeTheyAreRead) {
    describe();
    shape_ = {128, 128, 122};
    add_case("a");
    const Dataset dataset = open_dataset(folder_);
    const std::int64_t bytes = memory_of_cases(dataset, {"a"}, {});
    PreparationOptions only_t1;
    only_t1.channels = {"T1"};
    EXPECT_EQ(bytes, 2 * 128 * 128 * 122 * 4);
    EXPECT_EQ(memory_of_cases(dataset, {"a", "a"}, only_t1), bytes);
    const auto too_many = static_cast<std::size_t>(cpu::free_memory() / bytes + 100);
    const std::string message =
        refusal([&] { prepare_training_cases(dataset, std::vector<std::string>(too_many, "a"), {}, 2); });
    EXPECT_TRUE(says(message, "scans to train on need")) << message;
}

TEST_F(DatasetFolder, UnusableScansAreRefusedByFileName) {
    describe();
    add_case("a");
    add_case("b");
    const Dataset dataset = open_dataset(folder_);
    const auto prepare = [&] { prepare_training_cases(dataset, {"a", "b"}, {}, 2); };
    prepare();
    write_label("a", [](std::size_t) { return 0; });
    write_label("b", [](std::size_t) { return 0; });
    EXPECT_TRUE(says(refusal(prepare), "no lesion"));
    write_label("b", [](std::size_t v) { return v == 4; });
    prepare();
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
        write_channel("a_0001.nii", bad, 1.0f);
        EXPECT_TRUE(says(refusal(prepare), "a_0001.nii"));
    }
    write_channel("a_0001.nii", 1.0f, 1.0f);
    shape_[0] += 1;
    write_label("a", [](std::size_t) { return 1; });
    const std::string message = refusal(prepare);
    EXPECT_TRUE(says(message, "a.nii") && says(message, "a_0000.nii")) << message;
    std::filesystem::remove(folder_ / "labelsTr/a.nii");
    EXPECT_TRUE(says(refusal([&] { prepare_case(dataset, open_dataset(folder_).find("a"), {}); }), "no label"));
}

}  // namespace
}  // namespace iwseg
