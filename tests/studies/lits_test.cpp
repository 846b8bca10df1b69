#include "studies/lits.h"

#include <gtest/gtest.h>

#include "data/preparation.h"
#include "tests/studies/plain_studies.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

TEST_F(Studies, LitsScansAreCroppedToTheLiver) {
    std::vector<RawLitsScan> scans;
    for (const int number : {0, 3, 27, 28, 130}) {
        scans.push_back(draw_lits_scan(random_, number));
        write_lits_scan(folder_ / "raw", scans.back(), number % 2 == 1);
    }
    const Lits study(folder_ / "raw");
    ASSERT_EQ(study.cases().size(), scans.size());
    for (const RawLitsScan& scan : scans) {
        SCOPED_TRACE(scan.number);
        const Extent& shape = scan.ct.geometry.shape;
        Bytes liver(scan.labels.voxels.size()), tumours(liver.size());
        for (std::size_t v = 0; v < liver.size(); ++v) {
            liver[v] = scan.labels.voxels[v] == 1;
            tumours[v] = scan.labels.voxels[v] == 2;
        }
        Plain plain;
        box_and_crop(plain, liver, shape, scan.ct.voxels, tumours);
        const RawCase& raw = find(study, std::to_string(scan.number));
        const StudyCase got = study.prepare(raw);
        expect_equal(got, plain);
        EXPECT_EQ(got.lesion_count, list_components(plain.target, got.box.shape(), 26).size());
        const auto cut =
            std::count(tumours.begin(), tumours.end(), 1) - std::count(plain.target.begin(), plain.target.end(), 1);
        EXPECT_EQ(got.notes.size(), cut > 0 ? 1u : 0u);
        // The file's affine is of floats.
        const auto& whole = scan.ct.geometry.affine;
        for (int row = 0; row < 3; ++row)
            EXPECT_NEAR(got.image.geometry.affine[row][3],
                        whole[row][3] + whole[row][0] * plain.first[0] + whole[row][1] * plain.first[1] +
                            whole[row][2] * plain.first[2],
                        1e-3);
        EXPECT_GE(study.bytes_needed(raw), 10 * got.image.geometry.voxels());
    }
    const auto splits = study.splits({{"0", 0}, {"27", 27}, {"28", 28}, {"32", 32}, {"33", 33}, {"130", 130}});
    EXPECT_EQ(splits.at("holdout"), (Split{{"130", "33"}, {"28", "32"}, {"0", "27"}}));
}

TEST_F(Studies, UnusableLitsScansAreRefusedByFileName) {
    const fs::path raw = folder_ / "raw";
    const auto open = [&] { return refusal([&] { Lits study(raw); }); };
    EXPECT_TRUE(says(open(), "not a folder"));
    fs::create_directories(raw);
    EXPECT_TRUE(says(open(), "no LiTS scans"));
    RawLitsScan scan = draw_lits_scan(random_, 5);
    write_lits_scan(raw, scan, false);
    const auto prepare = [&] {
        return refusal([&] {
            const Lits study(raw);
            study.prepare(find(study, "5"));
        });
    };
    ASSERT_EQ(prepare(), "");
    const fs::path folder = raw / "Training Batch 1";
    fs::rename(folder / "segmentation-5.nii", folder / "segmentation-6.nii");
    EXPECT_TRUE(says(prepare(), "no segmentation-5"));
    EXPECT_TRUE(says(Lits(raw).notes().at(0), "no volume-6"));
    fs::rename(folder / "segmentation-6.nii", folder / "segmentation-5.nii");
    std::replace(scan.labels.voxels.begin(), scan.labels.voxels.end(), 1, 2);
    write_lits_scan(raw, scan, false);
    EXPECT_TRUE(says(prepare(), "segmentation-5.nii has no voxel of label 1"));
    RawLitsScan other = draw_lits_scan(random_, 5);
    other.labels.geometry.shape[0] += 1;
    other.labels.voxels.resize(static_cast<std::size_t>(other.labels.geometry.voxels()), 1);
    write_lits_scan(raw, other, false);
    EXPECT_TRUE(says(prepare(), "must be the same"));
    other = draw_lits_scan(random_, 5);
    other.labels.geometry.affine[0][3] += 3;
    write_lits_scan(raw, other, false);
    const Lits shifted(raw);
    EXPECT_TRUE(says(shifted.prepare(find(shifted, "5")).notes.at(0), "lie apart"));
    fs::resize_file(folder / "volume-5.nii", 900);
    EXPECT_TRUE(says(prepare(), "volume-5.nii"));
    write_lits_scan(raw, draw_lits_scan(random_, 5), true);
    EXPECT_TRUE(says(open(), "both there"));
    fs::remove(folder / "volume-5.nii");
    fs::remove(folder / "segmentation-5.nii");
    write_lits_scan(raw, draw_lits_scan(random_, 131), true);
    EXPECT_TRUE(says(Lits(raw).notes().at(0), "131"));
}

}  // namespace
}  // namespace iwseg
