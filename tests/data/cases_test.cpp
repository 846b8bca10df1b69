// Which cases a folder has, what they are called, and what is said of files that are none.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/dataset.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Names = std::vector<std::string>;

/// Folders of empty files: no scan is opened to list cases.
class Cases : public testing::Test {
  protected:
    Cases()
        : folder_(std::filesystem::temp_directory_path() / ("iwseg_cases_" + std::to_string(std::random_device{}()))) {}
    ~Cases() override { std::filesystem::remove_all(folder_); }

    void add(const std::string& file, const std::string& text = "") {
        std::filesystem::create_directories((folder_ / file).parent_path());
        write_text(folder_ / file, text);
    }
    void describe(const std::string& keys = "") {
        add("dataset.json", R"({"channel_names": {"0": "FLAIR"}, "file_ending": ".nii.gz")" + keys + "}");
    }
    /// Decathlon: a list of images, each with the label seg.nii.gz beside it.
    void list(const Names& images, const Names& test = {}) {
        std::string text = R"({"modality": {"0": "FLAIR"}, "training": [)";
        for (const std::string& image : images)
            text += (text.back() == '[' ? "" : ", ") + (R"({"image": ")" + image + R"(", "label": ")") +
                    path(image).replace_filename("seg.nii.gz").string() + "\"}";
        text += R"(], "test": [)";
        for (const std::string& image : test) text += (text.back() == '[' ? "\"" : ", \"") + image + "\"";
        add("dataset.json", text + "]}");
        for (const auto* images_of : {&images, &test})
            for (const std::string& image : *images_of) {
                add(image);
                add(path(image).replace_filename("seg.nii.gz"));
            }
    }
    Names names(const std::vector<Case>& cases) const {
        Names names;
        for (const Case& scan : cases) names.push_back(scan.name);
        return names;
    }
    std::string notes() const {
        std::string text;
        for (const std::string& note : open_dataset(folder_).notes) text += note + "\n";
        return text;
    }
    std::string refused() const {
        return refusal([&] { open_dataset(folder_); });
    }

    path folder_;
};

// ---- A case is its whole path

TEST_F(Cases, ACaseIsItsWholePath) {
    list({"./p2/flair.nii.gz", "./p1/flair.nii.gz", "p1/late/flair.nii.gz", "./imagesTr/BRATS_001.nii.gz"});
    const Dataset dataset = open_dataset(folder_);
    EXPECT_EQ(names(dataset.cases), (Names{"BRATS_001", "p1_flair", "p1_late_flair", "p2_flair"}));
    EXPECT_EQ(dataset.find("p2_flair").images.front(), folder_ / "p2/flair.nii.gz");
    EXPECT_EQ(dataset.find("p2_flair").label, folder_ / "p2/seg.nii.gz");
    EXPECT_TRUE(dataset.notes.empty());
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const Split split = make_split(dataset, std::nullopt, seed);
        for (const std::string& name : split.test)
            EXPECT_EQ(std::count(split.train.begin(), split.train.end(), name), 0) << name;
    }
}

TEST_F(Cases, ANameDependsOnItsOwnPathAlone) {
    list({"p1/flair.nii.gz"});
    const Names alone = names(open_dataset(folder_).cases);
    list({"p1/flair.nii.gz", "p2/flair.nii.gz"});
    EXPECT_EQ(alone, Names{"p1_flair"});
    EXPECT_EQ(names(open_dataset(folder_).cases).front(), alone.front());
}

TEST_F(Cases, NamesStayInsideOfTheOutputFolder) {
    const path outside = folder_ / "outside";
    folder_ = outside / "data";
    list({"../p1/flair.nii.gz", "./a/../../p2/flair.nii.gz", (outside / "p3/flair.nii.gz").string()});
    const Names found = names(open_dataset(folder_).cases);
    folder_ = outside.parent_path();
    EXPECT_EQ(found, (Names{"p1_flair", "p2_flair", "p3_flair"}));
}

TEST_F(Cases, AnEntryThatNamesNoFileIsRefused) {
    // "." was an empty list of parts, whose last one was taken.
    for (const std::string image : {".", "..", "./", "imagesTr/", ".nii.gz", "imagesTr/.nii.gz", "a/.."}) {
        add("a.nii.gz"), add("seg.nii.gz"), add("imagesTr/.nii.gz");
        const std::string train = R"({"modality": {"0": "CT"}, "training": [{"image": ")",
                          label = R"(", "label": "seg.nii.gz"}])";
        for (const std::string& text :
             {train + image + label, train + "a.nii.gz" + label + R"(, "test": [")" + image + "\"]"}) {
            add("dataset.json", text + "}");
            EXPECT_TRUE(says(refused(), "lists \"" + image + "\" as an image, which is no file's name")) << refused();
        }
    }
}

TEST_F(Cases, NamesThatAreNotUtf8AreRefused) {
    describe();
    add("imagesTr/caf\xE9_0000.nii.gz"), add("labelsTr/caf\xE9.nii.gz");
    EXPECT_TRUE(says(refused(), "not UTF-8") && says(refused(), "_0000.nii.gz")) << refused();
}

TEST_F(Cases, NamesThatWouldBeOneAreRefused) {
    list({"a_b/c.nii.gz", "a/b_c.nii.gz"});
    EXPECT_TRUE(says(refused(), "a_b/c.nii.gz") && says(refused(), "one name")) << refused();
    list({"p/Scan.nii.gz", "p/scan.nii.gz"});
    EXPECT_TRUE(says(refused(), "upper and lower case")) << refused();
    describe();
    for (const char* file :
         {"imagesTr/K_0000.nii.gz", "imagesTr/k_0000.nii.gz", "labelsTr/k.nii.gz", "labelsTr/K.nii.gz"})
        add(file);
    EXPECT_TRUE(says(refused(), "k_0000.nii.gz") && says(refused(), "upper and lower case")) << refused();
}

TEST_F(Cases, ACaseListedTwiceCountsOnce) {
    list({"p1/flair.nii.gz", "./p1/flair.nii.gz", "p2/flair.nii.gz", "p1/x/../flair.nii.gz"});
    EXPECT_EQ(names(open_dataset(folder_).cases), (Names{"p1_flair", "p2_flair"}));
    EXPECT_TRUE(says(notes(), "2 cases more than once (p1_flair, p1_flair)")) << notes();
    add("p1/other.nii.gz");
    add("dataset.json",
        R"({"modality": {"0": "CT"}, "training": [{"image": "p1/flair.nii.gz", "label": "p1/seg.nii.gz"},
                            {"image": "p1/flair.nii.gz", "label": "p1/other.nii.gz"}]})");
    EXPECT_TRUE(says(refused(), "twice, with different labels")) << refused();
}

TEST_F(Cases, OneScanUnderTwoNamesIsOne) {
    list({"imagesTr/c0.nii.gz", "imagesTr/c1.nii.gz"}, {"imagesTs/c2.nii.gz"});
    for (const char* link : {"imagesTr/c9.nii.gz", "imagesTs/c9.nii.gz"})
        std::filesystem::create_symlink(folder_ / "imagesTr/c0.nii.gz", folder_ / link);
    const std::string one = R"({"modality": {"0": "CT"}, "training": [)",
                      c0 = R"({"image": "imagesTr/c0.nii.gz", "label": "imagesTr/seg.nii.gz"})",
                      c9 = R"({"image": "imagesTr/c9.nii.gz", "label": "imagesTr/seg.nii.gz"})";
    add("dataset.json", one + c0 + ", " + c9 + R"(], "test": ["imagesTs/c9.nii.gz", "imagesTs/c2.nii.gz"]})");
    EXPECT_EQ(names(open_dataset(folder_).cases), Names{"c0"});
    EXPECT_EQ(names(open_dataset(folder_).test_cases), Names{"c2"});
    EXPECT_TRUE(says(notes(), "1 case more than once (c9)")) << notes();
    EXPECT_TRUE(says(notes(), "1 scan listed both to train and to test (c9)")) << notes();

    std::filesystem::remove_all(folder_);
    describe();
    add("imagesTr/a_0000.nii.gz"), add("labelsTr/a.nii.gz"), add("labelsTr/b.nii.gz");
    std::filesystem::create_symlink("a_0000.nii.gz", folder_ / "imagesTr/b_0000.nii.gz");
    EXPECT_TRUE(says(refused(), "the cases a and b are one scan")) << refused();
}

TEST_F(Cases, ALabelOfSeveralScansIsNoted) {
    describe();
    for (const char* file : {"imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz"}) add(file);
    std::filesystem::create_symlink("a.nii.gz", folder_ / "labelsTr/b.nii.gz");
    EXPECT_TRUE(says(notes(), "labelsTr/a.nii.gz is that of 2 cases: a, b")) << notes();
    std::filesystem::rename(folder_ / "imagesTr", folder_ / "scans");  // else its files tell the cases
    add("dataset.json", R"({"modality": {"0": "CT"}, "training": [
        {"image": "scans/a_0000.nii.gz", "label": "labelsTr/a.nii.gz"},
        {"image": "scans/b_0000.nii.gz", "label": "./labelsTr/a.nii.gz"}]})");
    EXPECT_TRUE(says(notes(), "is that of 2 cases: scans_a_0000, scans_b_0000")) << notes();
}

TEST_F(Cases, ACaseToTestHasAnotherNameThanOneToTrain) {
    describe();
    for (const char* file :
         {"imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/a_0000.nii.gz", "imagesTs/b_0000.nii.gz"})
        add(file);
    const Dataset dataset = open_dataset(folder_);
    EXPECT_EQ(names(dataset.cases), Names{"a"});
    EXPECT_EQ(names(dataset.test_cases), (Names{"b", "imagesTs_a"}));
    EXPECT_EQ(dataset.find("imagesTs_a").images.front(), folder_ / "imagesTs/a_0000.nii.gz");
    EXPECT_TRUE(says(notes(), "imagesTs_a")) << notes();
    add("imagesTr/IMAGESTS_A_0000.nii.gz"), add("labelsTr/IMAGESTS_A.nii.gz");
    EXPECT_TRUE(says(refused(), "imagesTs_a")) << refused();
}

TEST_F(Cases, AScanListedToTrainAndToTestIsToTrain) {
    list({"p1/flair.nii.gz", "p2/flair.nii.gz"}, {"p2/flair.nii.gz", "p3/flair.nii.gz"});
    EXPECT_EQ(names(open_dataset(folder_).test_cases), Names{"p3_flair"});
    EXPECT_TRUE(says(notes(), "both to train and to test (p2_flair)")) << notes();
}

TEST_F(Cases, EverySplitNamesACaseOnceAndNeverOnBothSides) {
    list({"p1/flair.nii.gz", "p2/flair.nii.gz", "p3/flair.nii.gz"});
    const Dataset dataset = open_dataset(folder_);
    const Split twice{{"p1_flair", "p2_flair", "p1_flair"}, {}, {"p3_flair", "p3_flair"}};
    Names notes;
    EXPECT_EQ(make_split(dataset, twice, 1, &notes), (Split{{"p1_flair", "p2_flair"}, {}, {"p3_flair"}}));
    ASSERT_EQ(notes.size(), 2u);
    EXPECT_TRUE(says(notes[0], "p1_flair more than once in train")) << notes[0];
    add("splits_final.json", R"([{"train": ["p1_flair", "p2_flair"], "val": ["p2_flair"]}])");
    EXPECT_TRUE(says(refusal([&] { make_split(dataset, std::nullopt, 1); }), "both in train and in"));
    std::filesystem::remove(folder_ / "splits_final.json");
    // A dataset that was not opened, but made, may hold anything.
    Dataset made = dataset;
    for (Case& scan : made.cases) scan.name = "flair";
    EXPECT_TRUE(says(refusal([&] { make_split(made, std::nullopt, 1); }), "both in train and in"));
}

TEST_F(Cases, ACaseWithoutLabelIsNotTrainedOn) {
    describe();
    for (const char* file : {"imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz"}) add(file);
    const Dataset dataset = open_dataset(folder_);
    EXPECT_TRUE(says(refusal([&] {
                         make_split(dataset, Split{{"a", "b"}, {}, {}}, 1);
                     }),
                     "b in train, but it has no label"));
}

TEST_F(Cases, AListedCaseWithoutLabelIsNoted) {
    for (const char* file : {"a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz", "seg.nii.gz"}) add(file);
    const std::string begin =
        R"({"modality": {"0": "CT"}, "training": [{"image": "a.nii.gz", "label": "seg.nii.gz"}, )";
    add("dataset.json", begin + R"({"image": "b.nii.gz", "lable": "seg.nii.gz"}, {"image": "c.nii.gz", "label": null},
                                   "d.nii.gz"]})");
    EXPECT_EQ(names(open_dataset(folder_).cases).size(), 4u);
    EXPECT_TRUE(says(notes(), "3 of 4 cases in \"training\" of dataset.json have no label (b, c, d)")) << notes();
    for (const std::string label : {"7", "\"\"", "[\"seg.nii.gz\"]", "false"}) {
        add("dataset.json", begin + R"({"image": "b.nii.gz", "label": )" + label + "}]}");
        EXPECT_TRUE(says(refused(), "gives b.nii.gz the \"label\" " + label)) << refused();
    }
}

TEST_F(Cases, WhatIsNoListOfCasesIsRefused) {
    add("a.nii.gz"), add("seg.nii.gz");
    const std::string begin = R"({"modality": {"0": "CT"}, "training": )",
                      one = R"({"image": "a.nii.gz", "label": "seg.nii.gz"})";
    for (const std::string& training : {one, std::string("3"), std::string("\"a.nii.gz\"")}) {
        add("dataset.json", begin + training + "}");
        EXPECT_TRUE(says(refused(), "must give \"training\" as a list of cases")) << refused();
    }
    add("dataset.json", begin + "[" + one + R"(], "test": {"image": "a.nii.gz"}})");
    EXPECT_TRUE(says(refused(), "must give \"test\" as a list of cases")) << refused();
    add("dataset.json", begin + "[" + one + R"(], "test": null})");
    EXPECT_EQ(names(open_dataset(folder_).cases), Names{"a"});
}

// ---- Nothing is passed over silently

TEST_F(Cases, FilesThatAreNoCasesAreNamedAndCounted) {
    describe();
    for (const char* file : {"imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/._a_0000.nii.gz",
                             "imagesTr/.DS_Store", "imagesTr/b_0000.nii", "imagesTr/c.nii.gz", "imagesTr/a_0004.nii.gz",
                             "labelsTr/gone.nii.gz", "labelsTr/._a.nii.gz", "labelsTr/readme.txt"})
        add(file);
    const Dataset dataset = open_dataset(folder_);
    EXPECT_EQ(names(dataset.cases), Names{"a"});
    EXPECT_EQ(dataset.cases[0].images.size(), 1u);
    EXPECT_TRUE(says(notes(), "2 hidden files passed over")) << notes();
    EXPECT_TRUE(says(notes(), "2 files that are not named CASE_0000.nii.gz: b_0000.nii, c.nii.gz")) << notes();
    EXPECT_TRUE(says(notes(), "1 file (a_0004.nii.gz)") && says(notes(), "names 1 channel (FLAIR)")) << notes();
    EXPECT_TRUE(says(notes(), "1 file of no case: gone.nii.gz")) << notes();
    EXPECT_EQ(dataset.notes.size(), 4u) << notes();
}

TEST_F(Cases, ACleanFolderIsNotTalkedAbout) {
    describe(R"(, "numTraining": 2)");
    for (const char* file : {"imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz",
                             "labelsTr/b.nii.gz", "imagesTs/c_0000.nii.gz"})
        add(file);
    EXPECT_EQ(notes(), "");
    describe(R"(, "numTraining": 3)");
    EXPECT_TRUE(says(notes(), "numTraining 3, but there are 2 cases")) << notes();
}

TEST_F(Cases, LabelsNamedAsChannelsAreRefused) {
    describe();
    for (const char* name : {"a", "b", "c", "d", "e"}) {
        add(std::string("imagesTr/") + name + "_0000.nii.gz");
        add(std::string("labelsTr/") + name + (*name < 'd' ? "_0000.nii.gz" : ".nii.gz"));
    }
    EXPECT_TRUE(says(refused(), "3 cases") && says(refused(), "(a, b, c)") && says(refused(), "labelsTr/a.nii.gz"))
        << refused();
    // Without a file that could be meant, a case without label is one to predict.
    for (const char* name : {"a", "b", "c"})
        std::filesystem::remove(folder_ / "labelsTr" / (std::string(name) + "_0000.nii.gz"));
    EXPECT_TRUE(says(notes(), "3 of 5 cases") && says(notes(), "(a, b, c)")) << notes();
}

TEST_F(Cases, TheListOfVersion1DoesNotHideTheFiles) {
    describe(R"(, "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}], "test": [])");
    add("imagesTr/a_0000.nii.gz"), add("labelsTr/a.nii.gz");
    const Dataset dataset = open_dataset(folder_);
    EXPECT_EQ(names(dataset.cases), Names{"a"});
    EXPECT_EQ(dataset.cases[0].images.front(), folder_ / "imagesTr/a_0000.nii.gz");
    EXPECT_TRUE(says(notes(), "the list \"training\" in dataset.json (1 cases) is not read")) << notes();
    // nnU-Net v1's own dataset.json has neither channel_names nor file_ending.
    add("dataset.json", R"({"modality": {"0": "CT"}, "training": [{"image": "./imagesTr/a.nii.gz", "label": "x"}]})");
    EXPECT_EQ(names(open_dataset(folder_).cases), Names{"a"});
}

TEST_F(Cases, ListedFilesThatAreMissingAreNamed) {
    list({"p1/flair.nii.gz", "p2/flair.nii.gz"}, {"p3/flair.nii.gz", "p4/flair.nii.gz"});
    std::filesystem::remove(folder_ / "p4/flair.nii.gz");
    EXPECT_EQ(names(open_dataset(folder_).test_cases), Names{"p3_flair"});
    EXPECT_TRUE(says(notes(), "1 file under \"test\" that is not there (p4/flair.nii.gz)")) << notes();
    std::filesystem::remove(folder_ / "p2/seg.nii.gz");
    EXPECT_TRUE(says(refused(), "p2/seg.nii.gz, which is missing")) << refused();
}

TEST_F(Cases, AFolderWithoutCasesSaysWhatItHolds) {
    describe();
    add("imagesTr/a_0000.nii"), add("imagesTr/b.nii.gz");
    EXPECT_TRUE(says(refused(), "has no cases") && says(refused(), "a_0000.nii, b.nii.gz")) << refused();
}

}  // namespace
}  // namespace iwseg
