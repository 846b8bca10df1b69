#include "apps/report/class_report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "apps/evaluation/class_evaluation.h"
#include "apps/run_folder/run_files.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// A dataset of one scan with two classes, of which a run finds one.
class ClassReport : public testing::Test {
  protected:
    ClassReport() {
        for (const char* name : {"dataset/imagesTr", "dataset/labelsTr", "run/predictions"})
            fs::create_directories(folder_ / name);
        write_text(folder_ / "dataset/dataset.json",
                   R"({"name": "two <classes>", "channel_names": {"0": "CT"},
                       "labels": {"background": 0, "edema": 1, "tumour": [2, 3]}, "file_ending": ".nii.gz"})");
        Geometry geometry;
        geometry.shape = {12, 13, 11};
        Volume<float> image{geometry, std::vector<float>(12 * 13 * 11, 10)};
        Volume<std::int32_t> target{geometry, std::vector<std::int32_t>(image.voxels.size())}, found = target;
        for (const std::size_t v : {200u, 201u, 202u}) target.voxels[v] = found.voxels[v] = 1;
        for (const std::size_t v : {900u, 901u}) target.voxels[v] = v == 900 ? 2 : 3, image.voxels[v] = 60;
        found.voxels[1400] = 3;
        write_volume(folder_ / "dataset/imagesTr/a_0000.nii.gz", image);
        write_volume(folder_ / "dataset/labelsTr/a.nii.gz", target);
        write_volume(folder_ / "run/predictions/a.nii.gz", found);
        EvaluationOptions options;
        options.dataset = folder_ / "dataset";
        options.predictions = folder_ / "run/predictions";
        options.out = RunFiles(folder_ / "run").classes();
        const Reference reference = open_reference(options);
        classes_ = read_label_classes("dataset", reference.dataset->label_names, "classes");
        evaluate_classes(options, reference, classes_);
        write_text(folder_ / "run/config.toml", "loss = \"dice + ce\"\npatch = 8\n");
    }
    ~ClassReport() override { fs::remove_all(folder_); }

    fs::path folder_ = fs::path(testing::TempDir()) / fmt::format("iwseg_class_report_{}", ::getpid());
    std::vector<LabelClass> classes_;
};

TEST_F(ClassReport, HasALineAClassThatLeadsToItsOwnReport) {
    write_class_report(folder_ / "dataset", {{"first", folder_ / "run"}}, classes_, folder_ / "run/report.html");
    const std::string page = read_text(folder_ / "run/report.html");
    EXPECT_NE(page.find("two &lt;classes&gt;"), std::string::npos);
    EXPECT_NE(page.find(R"(<a href="classes/edema/report.html">edema</a>)"), std::string::npos) << page;
    EXPECT_NE(page.find("2 + 3"), std::string::npos);
    // Dice 1 of edema and 0 of tumour; one of each is a lesion.
    const std::size_t mean = page.find("mean of classes");
    ASSERT_NE(mean, std::string::npos);
    EXPECT_NE(page.find("0.500", mean), std::string::npos);
    const std::string tumour = read_text(folder_ / "run/classes/tumour/report.html");
    EXPECT_NE(tumour.find("two &lt;classes&gt;: tumour"), std::string::npos);
    EXPECT_NE(tumour.find("0 of 1"), std::string::npos);
    EXPECT_NE(tumour.find("../../report.html"), std::string::npos);
    EXPECT_NE(read_text(folder_ / "run/classes/edema/report.html").find("1 of 1"), std::string::npos);
}

TEST_F(ClassReport, AClassWithoutRecordsIsNamed) {
    fs::remove(folder_ / "run/classes/edema/records.json");
    try {
        write_class_report(folder_ / "dataset", {{"first", folder_ / "run"}}, classes_, folder_ / "report.html");
        FAIL();
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("edema/records.json"), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace iwseg
