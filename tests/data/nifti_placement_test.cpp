#include "data/volume/nifti_placement.h"

#include <cmath>
#include <limits>

#include "base/atomic_file.h"
#include "data/preparation.h"
#include "tests/data/nifti_files.h"

namespace iwseg {
namespace {

constexpr float kNanValue = std::numeric_limits<float>::quiet_NaN();

/// Forms that say different things: the qform a quarter turn about z of voxels of 0.8 x 0.9 x 2, first axis to y; the
/// sform of RawNifti, sheared.
std::string two_forms(int qform_code, int sform_code, int units) {
    RawNifti raw;
    for (int v = 0; v < 24; ++v) raw.append(static_cast<float>(v));
    std::string bytes = raw.bytes();
    put(bytes, nifti1::kPixdim, {1.0f, 0.8f, 0.9f, 2.0f});
    put(bytes, nifti1::kQformCode, {static_cast<std::int16_t>(qform_code), static_cast<std::int16_t>(sform_code)});
    put(bytes, nifti1::kQuatern, {0.0f, 0.0f, std::sqrt(0.5f)});
    put(bytes, nifti1::kQoffset, {10.0f, 20.0f, 30.0f});
    put(bytes, nifti1::kXyztUnits, {static_cast<char>(units)});
    return bytes;
}

/// Of two_forms, by hand.
const Affine kSform{{{2, 0, 0, -5}, {0, 3, 0, 7}, {0, 0.5, 4, 11}}};
const Affine kQform{{{0, -0.9, 0, 10}, {0.8, 0, 0, 20}, {0, 0, 2, 30}}};
const Affine kCentred{{{-0.8, 0, 0, 1.2}, {0, 0.9, 0, -0.9}, {0, 0, 2, -1}}};  // as nibabel prints it for 4 x 3 x 2

void expect_affine(const Affine& affine, const Affine& expected, double factor = 1) {
    for (int row = 0; row < 3; ++row)
        for (int column = 0; column < 4; ++column)  // the header holds f32
            EXPECT_NEAR(affine[row][column], expected[row][column] * factor, 2e-6 * 40 * factor)
                << row << " " << column;
}

using Placement = NiftiFiles;
using std::filesystem::path;

TEST_F(Placement, GeometryIsOfTheSformElseTheQformElseNibabelsCentre) {
    expect_affine(read_geometry(save("a.nii", two_forms(1, 2, 2))).affine, kSform);
    expect_affine(read_geometry(save("a.nii", two_forms(1, 0, 2))).affine, kQform);
    expect_affine(read_geometry(save("a.nii", two_forms(0, 0, 2))).affine, kCentred);
}

TEST_F(Placement, UnitsAreHonoured) {
    for (const auto& [unit, mm] : {std::pair(0, 1.0), {1, 1e3}, {2, 1.0}, {3, 1e-3}}) {
        constexpr int seconds = 8;
        expect_affine(read_geometry(save("a.nii", two_forms(0, 1, unit | seconds))).affine, kSform, mm);
        expect_affine(read_geometry(save("a.nii", two_forms(1, 0, unit))).affine, kQform, mm);
        const auto spacing = read_geometry(save("a.nii", two_forms(0, 0, unit))).spacing();
        EXPECT_NEAR(spacing[2], 2 * mm, 1e-6 * mm);
    }
}

TEST_F(Placement, ResultsSayWhatTheScansHeaderSays) {
    for (const auto& [qform_code, sform_code] : {std::pair(1, 1), {0, 0}, {2, 0}, {0, 4}, {1, 3}})
        for (const int units : {0, 2, 10, 1, 3, 19, 0x91}) {
            const std::string scan = two_forms(qform_code, sform_code, units);
            Volume<float> volume = read_image(save("scan.nii", scan));
            write_volume(folder_ / "prob.nii", volume);
            const Volume<std::uint8_t> mask{volume.geometry, std::vector<std::uint8_t>(24)};
            write_volume(folder_ / "mask.nii", mask);
            for (const char* name : {"prob.nii", "mask.nii"}) {
                const std::string result = read_text(folder_ / name);
                const auto same = [&](std::size_t from, std::size_t bytes) {
                    return result.substr(from, bytes) == scan.substr(from, bytes);
                };
                EXPECT_TRUE(same(nifti1::kPixdim, 16)) << name;
                EXPECT_TRUE(same(nifti1::kQformCode, 4)) << name;
                EXPECT_TRUE(same(nifti1::kQuatern, nifti1::kIntentName - nifti1::kQuatern)) << name;
                EXPECT_EQ(static_cast<unsigned char>(result[nifti1::kXyztUnits]), units) << name;
                EXPECT_EQ(read_geometry(folder_ / name).affine, volume.geometry.affine);
            }
        }
}

TEST_F(Placement, ResultsHaveNoScalingIntentOrDisplayRangeOfTheScan) {
    std::string scan = two_forms(1, 1, 2);
    put(scan, nifti1::kSclSlope, {0.5f, -3.0f});
    put(scan, nifti1::kCalMax, {400.0f, -100.0f});
    put(scan, nifti1::kIntentCode, {std::int16_t{1007}});
    scan.replace(nifti1::kDescrip, 4, "scan");
    write_volume(folder_ / "prob.nii", read_image(save("scan.nii", scan)));
    const std::string result = read_text(folder_ / "prob.nii");
    EXPECT_EQ(field<float>(result, nifti1::kSclSlope), 1.0f);
    EXPECT_EQ(field<float>(result, nifti1::kSclInter), 0.0f);
    EXPECT_EQ(field<float>(result, nifti1::kCalMax), 0.0f);
    EXPECT_EQ(field<float>(result, nifti1::kCalMin), 0.0f);
    EXPECT_EQ(field<std::int16_t>(result, nifti1::kIntentCode), 0);
    EXPECT_EQ(result.substr(nifti1::kDescrip, 6), std::string("iwseg\0", 6));
    EXPECT_EQ(read_image(folder_ / "prob.nii").voxels[1], 12 * 0.5f - 3);
}

TEST_F(Placement, AFormThatSpansNoVolumeGivesWayToTheOther) {
    for (const std::initializer_list<float> rows : {std::initializer_list<float>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                                                    {1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0},
                                                    {1, 0, 0, kNanValue, 0, 1, 0, 0, 0, 0, 1, 0},
                                                    {1, 2, 0, 0, 2, 4, 0, 0, 0, 0, 1, 0}}) {
        std::string bytes = two_forms(1, 1, 2);
        put(bytes, nifti1::kSrow, rows);
        const path file = save("a.nii", bytes);
        expect_affine(read_geometry(file).affine, kQform);
        write_volume(folder_ / "b.nii", read_image(file));
        expect_affine(read_geometry(folder_ / "b.nii").affine, kQform);
        put(bytes, nifti1::kQformCode, {std::int16_t{0}});
        expect_refused(bytes, "sform");
        put(bytes, nifti1::kSformCode, {std::int16_t{0}});
        expect_affine(read_geometry(save("a.nii", bytes)).affine, kCentred);
    }
}

TEST_F(Placement, VoxelsWithoutASizeAreReadByTheSformOrRefused) {
    for (const float size : {0.0f, kNanValue, std::numeric_limits<float>::infinity()}) {
        std::string bytes = two_forms(1, 1, 2);
        put(bytes, nifti1::kPixdim + 8, {size});
        expect_affine(read_geometry(save("a.nii", bytes)).affine, kSform);
        put(bytes, nifti1::kSformCode, {std::int16_t{0}});
        expect_refused(bytes, "qform");
        put(bytes, nifti1::kQformCode, {std::int16_t{0}});
        expect_refused(bytes, "pixdim");
    }
    std::string bytes = two_forms(1, 0, 2);
    put(bytes, nifti1::kQuatern, {3.0f});  // no rotation
    expect_refused(bytes, "quaternion");
}

TEST_F(Placement, APartLiesWhereItLayInTheWhole) {
    constexpr std::array<std::int64_t, 3> first{2, 1, 1}, shape{2, 2, 1};
    for (const auto& [qform_code, sform_code] : {std::pair(1, 1), {1, 0}, {0, 2}}) {
        const Geometry whole = read_geometry(save("a.nii", two_forms(qform_code, sform_code, 3)));
        const Geometry part = whole.part(first, shape);
        write_volume(folder_ / "part.nii", Volume<float>{part, std::vector<float>(4)});
        const Geometry read = read_geometry(folder_ / "part.nii");
        EXPECT_EQ(read.nifti->qform_code, qform_code);
        EXPECT_EQ(read.nifti->units, 3);
        // By each form on its own.
        for (const bool by_qform : {false, true}) {
            NiftiPlacement outer = *whole.nifti, inner = *read.nifti;
            for (NiftiPlacement* placement : {&outer, &inner}) {
                placement->qform_code = by_qform;
                placement->sform_code = !by_qform;
            }
            Affine expected = outer.affine(whole.shape).value();
            for (auto& row : expected) row[3] += row[0] * first[0] + row[1] * first[1] + row[2] * first[2];
            expect_affine(inner.affine(shape).value(), expected);
        }
    }
}

TEST_F(Placement, APreparedCaseKeepsItForPredictionsResults) {
    Dataset dataset;
    dataset.folder = folder_;
    dataset.channels = {"CT"};
    PreparationOptions options;
    options.with_label = false;
    const PreparedCase scan = prepare_case(dataset, {"a", {save("a.nii", two_forms(0, 0, 3))}, std::nullopt}, options);
    ASSERT_TRUE(scan.geometry.nifti);
    EXPECT_FALSE(scan.geometry.nifti->is_claimed());
    EXPECT_EQ(scan.geometry.nifti->units, 3);
}

TEST_F(Placement, AnAffineThatWasChangedSinceItWasReadIsWhatIsWritten) {
    Volume<float> volume = read_image(save("a.nii", two_forms(1, 1, 3)));
    volume.geometry.affine = kQform;
    write_volume(folder_ / "b.nii", volume);
    const Geometry read = read_geometry(folder_ / "b.nii");
    expect_affine(read.affine, kQform);
    EXPECT_EQ(read.nifti->units, 2);
}

// ---- A scan that claims no frame, and labels that other programs drew over it

class UnclaimedFrame : public NiftiFiles {
  protected:
    Geometry label_with(const Affine& rows, int units = 2) const {
        std::string bytes = two_forms(0, 1, units);
        for (std::size_t row = 0; row < 3; ++row)
            for (std::size_t column = 0; column < 4; ++column)
                put(bytes, nifti1::kSrow + 16 * row + 4 * column, {static_cast<float>(rows[row][column])});
        return read_geometry(save("label.nii", bytes));
    }
    Geometry scan_ = read_geometry(save("scan.nii", two_forms(0, 0, 2)));
};

TEST_F(UnclaimedFrame, LabelsAsNibabelTheStandardAndItkPlaceThemMatch) {
    const Affine standard{{{0.8, 0, 0, 0}, {0, 0.9, 0, 0}, {0, 0, 2, 0}}},
        itk{{{-0.8, 0, 0, 0}, {0, -0.9, 0, 0}, {0, 0, 2, 0}}};
    for (const Affine& rows : {kCentred, standard, itk}) {
        require_same_geometry(scan_, "scan", label_with(rows), "label");
        require_same_geometry(label_with(rows), "label", scan_, "scan");
    }
}

TEST_F(UnclaimedFrame, AnyOtherPlaceIsRefused) {
    const Affine mirrored{{{-0.8, 0, 0, 0}, {0, 0.9, 0, 0}, {0, 0, 2, 0}}},
        larger{{{0.8, 0, 0, 0}, {0, 0.9, 0, 0}, {0, 0, 2.1, 0}}};
    for (const Affine& rows : {mirrored, larger, kSform})
        EXPECT_THROW(require_same_geometry(scan_, "scan", label_with(rows), "label"), InputError);
}

TEST_F(UnclaimedFrame, ALabelThatNamesNoUnitHasTheScans) {
    const Geometry metres = read_geometry(save("metres.nii", two_forms(0, 1, 1)));
    require_same_geometry(metres, "scan", label_with(kSform, 0), "label");
    require_same_geometry(label_with(kSform, 0), "label", metres, "scan");
    EXPECT_THROW(require_same_geometry(metres, "scan", label_with(kSform, 2), "label"), InputError);
}

}  // namespace
}  // namespace iwseg
