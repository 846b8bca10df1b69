#include "data/scan_listing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/scan_names.h"
#include "data/volume/formats.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Names = std::vector<std::string>;

class ScanListings : public testing::Test {
  protected:
    ScanListings() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_listing_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
    }
    ~ScanListings() override { std::filesystem::remove_all(folder_); }

    path add(const std::string& name) const {
        std::filesystem::create_directories((folder_ / name).parent_path());
        write_volume(folder_ / name, Volume<float>{{{2, 3, 4}}, std::vector<float>(24, 1)});
        return folder_ / name;
    }
    /// A file whose fourth axis holds so many channels.
    path add_channels(const std::string& name, std::int16_t channels) const {
        std::string bytes = read_text(add(name));
        const std::int16_t axes = 4;
        std::memcpy(&bytes[40], &axes, 2);
        std::memcpy(&bytes[48], &channels, 2);
        bytes.append(static_cast<std::size_t>(channels - 1) * 24 * 4, '\0');
        write_text(folder_ / name, bytes);
        return folder_ / name;
    }
    std::string refusal(const ListingOptions& options) const {
        try {
            list_scan_folder(folder_, options);
        } catch (const InputError& error) {
            EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
            return error.what();
        }
        ADD_FAILURE() << "the folder was listed";
        return "";
    }
    static Names names_of(const ScanListing& listing) {
        Names names;
        for (const Case& scan : listing.cases) names.push_back(scan.name);
        return names;
    }
    static bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

    path folder_;
    ListingOptions one_{{{"CT"}}, {}};
    ListingOptions two_{{{"FLAIR", "T1"}}, {}};
};

TEST_F(ScanListings, FilesWithoutNumbersAreAScanEach) {
    add("b.nii.gz"), add("a.nii"), add("c.d.mha");
    const ScanListing listing = list_scan_folder(folder_, one_);
    EXPECT_EQ(names_of(listing), (Names{"a", "b", "c.d"}));
    EXPECT_TRUE(listing.notes.empty());
    EXPECT_EQ(listing.cases[2].images, (std::vector<path>{folder_ / "c.d.mha"}));
}

TEST_F(ScanListings, NumbersAreChannelsOfACase) {
    add("b_0001.nii.gz"), add("b_0000.nii.gz"), add("a_0000.nii.gz"), add("a_0001.nii.gz");
    const ScanListing listing = list_scan_folder(folder_, two_);
    EXPECT_EQ(names_of(listing), (Names{"a", "b"}));
    EXPECT_EQ(listing.cases[1].images, (std::vector<path>{folder_ / "b_0000.nii.gz", folder_ / "b_0001.nii.gz"}));
    EXPECT_EQ(listing.channels, (Names{"FLAIR", "T1"}));
    EXPECT_EQ(listing.notes, (Names{"channels are taken by their position: 0 is FLAIR, 1 is T1"}));
}

TEST_F(ScanListings, OneChannelMayHaveItsNumber) {
    add("a_0000.nii.gz"), add("b_0000.nii.gz");
    EXPECT_EQ(names_of(list_scan_folder(folder_, one_)), (Names{"a", "b"}));
}

TEST_F(ScanListings, NumbersOfPatientsAreNoChannels) {
    add("patient_0001.nii.gz"), add("patient_0002.nii.gz"), add("study_2021.nii.gz");
    EXPECT_EQ(names_of(list_scan_folder(folder_, one_)), (Names{"patient_0001", "patient_0002", "study_2021"}));
}

TEST_F(ScanListings, NamesThatAreNotUtf8AreRefused) {
    const path file = add("caf\xE9_0000.nii.gz");  // as Latin 1 writes it
    EXPECT_TRUE(holds(refusal(one_), "not UTF-8") && holds(refusal(one_), "caf")) << refusal(one_);
    EXPECT_THROW(list_scan_files({file}, one_), InputError);
    std::filesystem::rename(file, folder_ / "caf\xC3\xA9_0000.nii.gz");
    EXPECT_EQ(names_of(list_scan_folder(folder_, one_)), Names{"caf\xC3\xA9"});
}

TEST_F(ScanListings, TheVoxelsOfAHeaderAreNoScanInCapitalsOrNot) {
    add("a.nii.gz");
    for (const char* name : {"b.mhd", "b.RAW", "c.MHD", "c.zraw", "alone.raw"}) write_text(folder_ / name, "?");
    EXPECT_TRUE(is_data_of_header(folder_ / "b.RAW") && is_data_of_header(folder_ / "c.zraw"));
    EXPECT_FALSE(is_data_of_header(folder_ / "alone.raw") || is_data_of_header(folder_ / "a.nii.gz"));
}

TEST_F(ScanListings, WhatIsPassedOverIsNamedAndCounted) {
    add("a.nii.gz"), add("old/b.nii.gz");
    for (const char* name : {".DS_Store", "._a.nii.gz", "notes.txt", "list.csv", "x.mnc", "y.mnc", "z.tif", "zz.tif"})
        write_text(folder_ / name, "?");
    const ScanListing listing = list_scan_folder(folder_, one_);
    EXPECT_EQ(names_of(listing), (Names{"a"}));
    ASSERT_EQ(listing.notes.size(), 3u);
    EXPECT_TRUE(holds(listing.notes[0], "2 hidden files")) << listing.notes[0];
    EXPECT_TRUE(holds(listing.notes[1], "1 folder in ")) << listing.notes[1];
    EXPECT_TRUE(holds(listing.notes[2], "6 files of no known format")) << listing.notes[2];
    EXPECT_TRUE(holds(listing.notes[2], "list.csv, notes.txt, x.mnc, y.mnc, z.tif and 1 more")) << listing.notes[2];
}

TEST_F(ScanListings, AFolderWithoutScansSaysWhatIsExpected) {
    write_text(folder_ / "a.dcm", "?");
    const std::string sentence = refusal(one_);
    EXPECT_TRUE(holds(sentence, "holds no scan")) << sentence;
    EXPECT_TRUE(holds(sentence, ".nii.gz, .nii, .mha, .mhd, .nrrd or .nhdr")) << sentence;
    EXPECT_TRUE(holds(sentence, "a.dcm")) << sentence;
}

TEST_F(ScanListings, IncompleteChannelsAreRefusedUnlessOthersAreNamed) {
    add("a_0000.nii.gz"), add("a_0001.nii.gz"), add("b_0000.nii.gz"), add("c_0000.nii.gz"), add("c_0002.nii.gz");
    const std::string sentence = refusal(two_);
    EXPECT_TRUE(holds(sentence, "2 of the 3 scans")) << sentence;
    EXPECT_TRUE(holds(sentence, "b has _0000, c has _0000, _0002")) << sentence;
    EXPECT_TRUE(holds(sentence, "2 (FLAIR, T1)")) << sentence;
    two_.only = {"a"};
    EXPECT_EQ(names_of(list_scan_folder(folder_, two_)), (Names{"a"}));
    two_.only = {"aa"};
    EXPECT_TRUE(holds(refusal(two_), "no case aa; did you mean a?"));
}

TEST_F(ScanListings, MoreChannelsThanTheNetworkTakesAreRefusedNamingThem) {
    add("a_0000.nii.gz"), add("a_0001.nii.gz"), add("a_0002.nii.gz");
    const std::string sentence = refusal(two_);
    EXPECT_TRUE(holds(sentence, "a has _0000, _0001, _0002")) << sentence;
    EXPECT_TRUE(holds(sentence, "FLAIR, T1")) << sentence;
}

TEST_F(ScanListings, AFourthAxisMustHoldTheChannelsOfTheNetwork) {
    add_channels("a.nii", 2);
    EXPECT_EQ(names_of(list_scan_folder(folder_, two_)), (Names{"a"}));
    add_channels("b.nii", 3);
    const std::string sentence = refusal(two_);
    EXPECT_TRUE(holds(sentence, "b has 3 channels")) << sentence;
    EXPECT_TRUE(holds(sentence, "FLAIR, T1")) << sentence;
}

TEST_F(ScanListings, TheFirstLayoutOfThatLengthCounts) {
    add("a_0000.nii.gz"), add("a_0001.nii.gz");
    const ListingOptions options{{{"T1", "FLAIR"}, {"FLAIR", "T1"}, {"T1"}}, {}};
    EXPECT_EQ(list_scan_folder(folder_, options).channels, (Names{"T1", "FLAIR"}));
    std::filesystem::remove(folder_ / "a_0001.nii.gz");
    EXPECT_EQ(list_scan_folder(folder_, options).channels, (Names{"T1"}));
}

TEST_F(ScanListings, TwoFilesOfOneCaseAreRefused) {
    add("a.nii.gz");
    const path other = add("a.mha");
    EXPECT_TRUE(holds(refusal(one_), "both be the image of case a")) << refusal(one_);
    std::filesystem::remove(other);
    add("A.nii.gz");
    EXPECT_TRUE(holds(refusal(one_), "A.nii.gz")) << refusal(one_);
    std::filesystem::remove(folder_ / "A.nii.gz");
    add("a_0000.nii.gz");
    EXPECT_TRUE(holds(refusal(one_), "would both be")) << refusal(one_);
}

TEST_F(ScanListings, FilesAreChannelsOfOneScanOrScansOfTheirOwn) {
    const path flair = add("p1/flair.nii.gz"), t1 = add("p1/t1.nii.gz"), other = add("p2/flair.nii.gz");
    const ScanListing one = list_scan_files({flair, t1}, two_);
    EXPECT_EQ(names_of(one), (Names{"flair"}));
    EXPECT_EQ(one.cases[0].images, (std::vector<path>{flair, t1}));
    EXPECT_EQ(names_of(list_scan_files({t1, flair}, one_)), (Names{"flair", "t1"}));
    EXPECT_THROW(list_scan_files({flair, other}, one_), InputError);  // two results of one name
    const path b1 = add("b_0001.nii.gz"), b0 = add("b_0000.nii.gz");
    EXPECT_EQ(list_scan_files({b1, b0}, two_).cases[0].images, (std::vector<path>{b0, b1}));  // by their numbers
    EXPECT_THROW(list_scan_files({flair, t1, other}, two_), InputError);
    EXPECT_THROW(list_scan_files({folder_ / "a.txt"}, one_), InputError);
}

}  // namespace
}  // namespace iwseg
