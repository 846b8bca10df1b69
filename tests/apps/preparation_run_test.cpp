#include "apps/preparation/preparation_run.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "apps/run_folder/run_folder.h"
#include "apps/terminal/interrupt.h"
#include "base/error.h"
#include "data/preparation.h"
#include "studies/lits.h"
#include "studies/luna16.h"
#include "tests/studies/raw_studies.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

template <class Work>
std::string refusal(Work&& work) {
    try {
        work();
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

bool says(const std::string& message, const std::string& part) {
    return message.find(part) != std::string::npos;
}

/// Every file under the folder, by its path there.
std::map<std::string, std::string> contents(const fs::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file() && entry.path().filename() != ".lock")
            files[fs::relative(entry.path(), folder).string()] = read_text(entry.path());
    return files;
}

/// Which files are the same ones as before, not rewritten.
std::map<std::string, fs::file_time_type> times(const fs::path& folder) {
    std::map<std::string, fs::file_time_type> times;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.path().extension() == ".gz") times[entry.path().filename().string()] = entry.last_write_time();
    return times;
}

class PreparationRun : public testing::Test {
  protected:
    PreparationRun() { std::cout << "seed " << seed_ << "\n"; }

    void write_lits(const std::vector<int>& numbers) {
        for (const int number : numbers)
            write_lits_scan(folder_ / "raw", draw_lits_scan(random_, number), number % 2 == 0);
    }
    PreparationResult prepare_lits(PreparationRunOptions options = {}) {
        if (options.out.empty()) options.out = out_;
        return prepare_study(Lits(folder_ / "raw"), options);
    }

    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
    ScratchFolder folder_;
    fs::path out_ = folder_ / "out";
};

TEST_F(PreparationRun, DatasetHoldsWhatTheStudyPrepares) {
    const std::vector<RawLunaScan> scans = write_luna(folder_ / "raw", random_, 1);
    const Luna16 study(folder_ / "raw");
    const PreparationResult result = prepare_study(study, {.out = out_});
    EXPECT_TRUE(result.left_out.empty());
    const Dataset dataset = open_dataset(out_);
    EXPECT_EQ(dataset.channels, (std::vector<std::string>{"CT", "lungs"}));
    ASSERT_EQ(dataset.cases.size(), scans.size());
    std::int64_t components = 0;
    for (const RawCase& raw : study.cases()) {
        SCOPED_TRACE(raw.name);
        const Case& scan = dataset.find(raw.name);
        const StudyCase expected = study.prepare(raw);
        const Volume<float> ct = read_image(scan.images[0]), lungs = read_image(scan.images[1]);
        const Volume<std::int32_t> label = read_labels(*scan.label);
        EXPECT_EQ(ct.voxels, expected.image.voxels);
        EXPECT_TRUE(std::equal(lungs.voxels.begin(), lungs.voxels.end(), expected.mask->voxels.begin(),
                               expected.mask->voxels.end()));
        EXPECT_TRUE(std::equal(label.voxels.begin(), label.voxels.end(), expected.target.voxels.begin(),
                               expected.target.voxels.end()));
        require_same_geometry(ct.geometry, scan.images[0], expected.image.geometry, raw.image);
        require_same_geometry(ct.geometry, scan.images[0], label.geometry, *scan.label);
        require_same_geometry(ct.geometry, scan.images[0], lungs.geometry, scan.images[1]);
        EXPECT_EQ(dataset.lesion_counts.at(raw.name), expected.lesion_count);
        components += list_components(expected.target.voxels, expected.box.shape(), 26).size();
    }
    const json summary = json::parse(read_text(out_ / "preparation.json"));
    EXPECT_EQ(summary.at("components"), components);
    for (const char* key : {"components_by_mm", "components_by_voxels"}) {
        std::int64_t sum = 0;
        for (const auto& count : summary.at(key)) sum += count.get<std::int64_t>();
        EXPECT_EQ(sum, components) << key;
    }
    const Split split = named_split(dataset, "holdout");
    EXPECT_EQ(split.test.size(), 2u);
    EXPECT_EQ(make_split(dataset, split, 0), split);
    EXPECT_TRUE(says(refusal([&] { named_split(dataset, "holdou"); }), "did you mean holdout?"));
    EXPECT_TRUE(says(preparation_summary(study, result), "split holdout: 3 to train, 5 to validate, 2 to test"));
}

TEST_F(PreparationRun, WholeNumbersAreStoredAsInt16AndOthersAsFloat) {
    RawLitsScan scan = draw_lits_scan(random_, 1);
    write_lits_scan(folder_ / "raw", scan, false);
    scan = draw_lits_scan(random_, 2);
    write_lits_scan(folder_ / "raw", scan, false);
    Volume<float> real{scan.ct.geometry, std::vector<float>(scan.ct.voxels.begin(), scan.ct.voxels.end())};
    const StudyCase kept = Lits(folder_ / "raw").prepare(Lits(folder_ / "raw").cases()[1]);
    real.voxels[at(real.geometry.shape, kept.box.first[0], kept.box.first[1], kept.box.first[2])] += 0.25f;
    write_volume(folder_ / "raw" / "Training Batch 1" / "volume-2.nii", real);
    prepare_lits();
    const auto bits = [&](const char* name) {  // of a voxel, from the inflated header
        const fs::path file = out_ / "imagesTr" / name;
        const gzFile in = gzopen(file.c_str(), "rb");
        std::int16_t header[176];
        gzread(in, header, sizeof header);
        gzclose(in);
        return header[36];
    };
    EXPECT_EQ(bits("1_0000.nii.gz"), 16);
    EXPECT_EQ(bits("2_0000.nii.gz"), 32);
    EXPECT_EQ(read_image(out_ / "imagesTr" / "2_0000.nii.gz").voxels[0],
              static_cast<float>(kept.image.voxels[0] + 0.25f));
}

TEST_F(PreparationRun, BytesAreTheSameHoweverManyThreadsAndHoweverLittleMemory) {
    write_lits({0, 1, 5, 28, 30, 33, 77, 130});
    prepare_lits({.out = folder_ / "serial", .threads = 1});
    prepare_lits({.out = folder_ / "parallel", .threads = 7});
    prepare_lits({.out = folder_ / "small", .memory = 1, .threads = 3});
    const auto serial = contents(folder_ / "serial");
    EXPECT_EQ(serial.size(), 8u * 3 + 3);
    EXPECT_EQ(serial, contents(folder_ / "parallel"));
    EXPECT_EQ(serial, contents(folder_ / "small"));
}

TEST_F(PreparationRun, SecondCallDoesOnlyWhatIsMissingOrChanged) {
    write_lits({1, 2, 3, 40});
    prepare_lits();
    const auto whole = contents(out_);
    const auto first = times(out_);
    prepare_lits();
    EXPECT_EQ(times(out_), first);
    EXPECT_EQ(contents(out_), whole);
    fs::remove(out_ / "labelsTr" / "2.nii.gz");
    write_text(out_ / "imagesTr" / "3_0000.nii.gz.part", "torn");
    prepare_lits();
    EXPECT_EQ(contents(out_), whole);
    auto again = times(out_);
    for (const auto& [name, time] : first) EXPECT_EQ(again.at(name) == time, !name.starts_with("2")) << name;
    write_lits_scan(folder_ / "raw", draw_lits_scan(random_, 3), false);
    prepare_lits();
    again = times(out_);
    EXPECT_EQ(again.at("1.nii.gz"), first.at("1.nii.gz"));
    EXPECT_NE(again.at("3.nii.gz"), first.at("3.nii.gz"));
    const Lits study(folder_ / "raw");
    EXPECT_EQ(read_image(out_ / "imagesTr" / "3_0000.nii.gz").voxels, study.prepare(study.cases()[2]).image.voxels);
}

TEST_F(PreparationRun, CasesOfAnEarlierRawFolderStayAndExcludedOnesGo) {
    write_lits({1, 2, 40});
    prepare_lits();
    fs::remove_all(folder_ / "raw");
    write_lits({29, 50});
    const PreparationResult result = prepare_lits();
    EXPECT_EQ(result.cases.size(), 5u);
    EXPECT_EQ(named_split(open_dataset(out_), "holdout"), (Split{{"40", "50"}, {"29"}, {"1", "2"}}));
    const PreparationResult less = prepare_lits({.out = out_, .excluded = {"50", "2", "99"}});
    EXPECT_EQ(less.excluded, (std::vector<std::string>{"50"}));
    EXPECT_EQ(named_split(open_dataset(out_), "holdout"), (Split{{"40"}, {"29"}, {"1"}}));
    EXPECT_EQ(open_dataset(out_).cases.size(), 3u);
}

TEST_F(PreparationRun, BadScansAreLeftOutWithTheReasonAndTheRestGoesOn) {
    const fs::path raw = folder_ / "raw";
    const std::vector<RawLunaScan> scans = write_luna(raw, random_, 1);
    fs::remove(raw / "seg-lungs-LUNA16" / (scans[1].uid + ".mhd"));
    fs::resize_file(raw / "subset4" / (scans[4].uid + ".raw"), 77);
    fs::remove_all(raw / "tcia-lidc-xml" / "158");
    write_text(raw / "subset6" / (scans[6].uid + ".mhd"), "NDims = three\n");
    const PreparationResult result = prepare_study(Luna16(raw), {.out = out_});
    ASSERT_EQ(result.left_out.size(), 4u);
    EXPECT_TRUE(says(result.left_out.at(scans[1].uid), "lung mask"));
    EXPECT_TRUE(says(result.left_out.at(scans[4].uid), scans[4].uid + ".raw") ||
                says(result.left_out.at(scans[4].uid), scans[4].uid + ".mhd"));
    EXPECT_TRUE(says(result.left_out.at(scans[6].uid), scans[6].uid + ".mhd"));
    EXPECT_TRUE(says(result.left_out.at(scans[8].uid), "SeriesInstanceUid"));
    EXPECT_EQ(open_dataset(out_).cases.size(), 6u);
    EXPECT_EQ(json::parse(read_text(out_ / "preparation.json")).at("left_out").size(), 4u);
    // Once fixed, they are added; one that has become bad goes.
    write_luna_scan(raw, scans[4]);
    fs::remove(raw / "subset0" / (scans[0].uid + ".raw"));
    const PreparationResult fixed = prepare_study(Luna16(raw), {.out = out_});
    EXPECT_EQ(fixed.left_out.size(), 4u);
    EXPECT_FALSE(fixed.left_out.contains(scans[4].uid));
    EXPECT_TRUE(fixed.left_out.contains(scans[0].uid));
    const Dataset dataset = open_dataset(out_);
    EXPECT_EQ(dataset.cases.size(), 6u);
    EXPECT_THROW(dataset.find(scans[0].uid), InputError);
}

TEST_F(PreparationRun, FoldersOfOthersAreRefused) {
    write_lits({1, 40});
    fs::create_directories(out_);
    write_text(out_ / "dataset.json", R"({"name": "mine", "channel_names": {"0": "CT"}})");
    EXPECT_TRUE(says(refusal([&] { prepare_lits(); }), "another dataset"));
    EXPECT_FALSE(fs::exists(out_ / "preparation"));
    fs::remove(out_ / "dataset.json");
    fs::create_directories(out_ / "imagesTr");
    EXPECT_TRUE(says(refusal([&] { prepare_lits(); }), "did not make"));
    fs::remove_all(out_);
    prepare_lits();
    const RunFolder held(out_);
    EXPECT_TRUE(says(refusal([&] { prepare_lits(); }), "in use"));
    EXPECT_TRUE(says(refusal([&] { prepare_lits({.out = folder_ / "new", .excluded = {"1", "40"}}); }), "--exclude"));
    EXPECT_FALSE(fs::exists(folder_ / "new"));
    fs::remove(folder_ / "raw/Training Batch 1/segmentation-1.nii");
    fs::remove(folder_ / "raw/Training Batch 2/segmentation-40.nii.gz");
    EXPECT_TRUE(says(refusal([&] { prepare_lits({.out = folder_ / "new"}); }), "none of 2 scans"));
    EXPECT_FALSE(fs::exists(folder_ / "new"));
}

TEST_F(PreparationRun, ExcludedNamesComeFromTheCommandLineOrAFile) {
    write_lits({1, 2, 40});
    const Lits study(folder_ / "raw");
    write_text(folder_ / "list.json", "[\"2\",\n \"nowhere\"]\n");
    write_text(folder_ / "list.txt", "40 1\n");
    EXPECT_EQ(excluded_names(study, {"1", (folder_ / "list.json").string(), (folder_ / "list.txt").string()}),
              (std::vector<std::string>{"1", "2", "nowhere", "40", "1"}));
    EXPECT_TRUE(says(refusal([&] { excluded_names(study, {"41"}); }), "--exclude 41"));
}

/// A study of made-up scans, to see how they are run.
class MadeStudy : public Study {
  public:
    explicit MadeStudy(int scans) {
        for (int n = 0; n < scans; ++n) cases_.push_back({fmt::format("scan{:02}", n), n, {}, {}, {}});
    }
    std::string name() const override { return "Made"; }
    std::vector<std::string> channels() const override { return {"CT"}; }
    std::string lesion() const override { return "lesion"; }
    const std::vector<RawCase>& cases() const override { return cases_; }
    std::int64_t bytes_needed(const RawCase& scan) const override { return bytes(scan.part); }
    std::map<std::string, Split> splits(const std::map<std::string, int>&) const override { return {}; }
    StudyCase prepare(const RawCase& scan) const override {
        const std::int64_t used = in_work += bytes(scan.part);
        const int beside = scans_in_work++;
        if (beside > 0) most_together = std::max<std::int64_t>(most_together, used);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        ++prepared;
        if (scan.part == interrupt_at) raise(SIGINT);
        --scans_in_work;
        in_work -= bytes(scan.part);
        StudyCase made;
        made.raw_shape = {2, 2, 2};
        made.box = {{0, 0, 0}, {2, 2, 2}};
        made.image.geometry.shape = made.target.geometry.shape = {2, 2, 2};
        made.image.voxels.assign(8, static_cast<float>(scan.part));
        made.target.voxels = {1, 0, 0, 0, 0, 0, 0, 0};
        made.lesion_count = 1;
        return made;
    }
    static std::int64_t bytes(int part) { return part == 3 ? 1000 : 10 + part; }

    int interrupt_at = -1;
    mutable std::atomic<std::int64_t> in_work = 0, most_together = 0;
    mutable std::atomic<int> scans_in_work = 0, prepared = 0;

  private:
    std::vector<RawCase> cases_;
};

TEST_F(PreparationRun, ScansInWorkTogetherKeepWithinTheMemory) {
    const MadeStudy study(24);
    prepare_study(study, {.out = out_, .memory = 60, .threads = 8});
    EXPECT_EQ(study.prepared, 24);
    EXPECT_GT(study.most_together, 10);  // they did run together
    EXPECT_LE(study.most_together, 60);  // so the one of 1,000 bytes ran alone
}

TEST_F(PreparationRun, InterruptedRunLeavesWholeCasesAndIsGoneOnWith) {
    MadeStudy study(9);
    study.interrupt_at = 4;
    EXPECT_THROW(prepare_study(study, {.out = out_, .threads = 1}), Interrupted);
    EXPECT_FALSE(fs::exists(out_ / "dataset.json"));
    EXPECT_EQ(study.prepared, 5);
    const auto left = contents(out_);
    EXPECT_EQ(left.size(), 4u * 3);  // image, label and record of the four before
    for (const auto& [name, bytes] : left) EXPECT_FALSE(name.ends_with(".part")) << name;
    study.interrupt_at = -1;
    prepare_study(study, {.out = out_, .threads = 2});
    EXPECT_EQ(study.prepared, 5 + 5);
    EXPECT_EQ(open_dataset(out_).cases.size(), 9u);
    prepare_study(MadeStudy(9), {.out = folder_ / "straight"});
    EXPECT_EQ(contents(out_), contents(folder_ / "straight"));
}

TEST_F(PreparationRun, SizesAreCountedByEquivalentDiameter) {
    CaseRecord record;
    record.spacing = {0.5, 0.5, 2};  // half a cubic millimetre a voxel
    // Spheres of diameter 3 and 8 have 14.1 and 268.1 voxels.
    record.component_voxels = {1, 14, 15, 28, 29, 268, 269, 100000};
    const SizeHistogram sizes = size_histogram({record});
    EXPECT_EQ(sizes.bounds, (std::vector<double>{3, 5, 8, 12, 20, 30}));
    EXPECT_EQ(sizes.in_voxels, (std::vector<std::int64_t>{2, 3, 1, 1, 0, 0, 1}));
    EXPECT_EQ(sizes.in_mm, (std::vector<std::int64_t>{4, 1, 2, 0, 0, 0, 1}));
}

}  // namespace
}  // namespace iwseg
