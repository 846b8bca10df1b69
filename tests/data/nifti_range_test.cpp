#include <cmath>
#include <limits>

#include "tests/data/nifti_files.h"

// Every value of a header that means nothing is refused by its name, in NIfTI-1 and in NIfTI-2.
namespace iwseg {
namespace {

using NiftiRange = NiftiFiles;

constexpr float kNanValue = std::numeric_limits<float>::quiet_NaN(), kInfinite = std::numeric_limits<float>::infinity();

TEST_F(NiftiRange, VoxelsBeginBehindTheHeaderOrTheFileIsRefused) {
    const std::string first = small().bytes(), second = small().bytes_of_version_2();
    for (const float offset : {16.0f, 348.0f, 351.0f, -5.0f, -352.0f, 352.5f, kNanValue, kInfinite, 1e30f}) {
        std::string bytes = first;
        put(bytes, nifti1::kVoxOffset, {offset});
        expect_refused(bytes, "vox_offset");
    }
    for (const std::int64_t offset : {std::int64_t{352}, std::int64_t{543}, std::int64_t{-1}, INT64_MIN, INT64_MAX}) {
        std::string bytes = second;
        put(bytes, nifti2::kVoxOffset, {offset});
        expect_refused(bytes, "vox_offset");
    }
}

TEST_F(NiftiRange, AnOffsetOfZeroIsTheHeadersEnd) {
    std::string first = small().bytes(), second = small().bytes_of_version_2();
    const auto expected = read_image(save("first.nii", first)).voxels;
    EXPECT_EQ(expected[1], 12.0f);  // voxel (0, 0, 1)
    put(first, nifti1::kVoxOffset, {0.0f});
    put(second, nifti2::kVoxOffset, {std::int64_t{0}});
    EXPECT_EQ(read_image(save("first.nii", first)).voxels, expected);
    EXPECT_EQ(read_image(save_gz("second.nii.gz", second)).voxels, expected);
}

TEST_F(NiftiRange, AnOffsetBeyondExtensionsIsFollowedAndCountsForTheLength) {
    const std::string plain = small().bytes();
    std::string bytes = plain.substr(0, 352) + std::string(20, 'x') + plain.substr(352);
    put(bytes, nifti1::kVoxOffset, {372.0f});  // no multiple of 16, which SPM alone asks for
    EXPECT_EQ(read_image(save("far.nii", bytes)).voxels[1], 12.0f);
    EXPECT_NE(refusal(save("short.nii", bytes.substr(0, bytes.size() - 1))).find("too early"), std::string::npos);
    EXPECT_NE(refusal(save_gz("short.nii.gz", bytes.substr(0, bytes.size() - 1))).find("too early"), std::string::npos);
}

TEST_F(NiftiRange, ScalingIsFinite) {
    for (const auto& [slope, intercept] : {std::pair(kNanValue, 0.0f),
                                           {kInfinite, 0.0f},
                                           {2.0f, kNanValue},
                                           {2.0f, -kInfinite},
                                           {kNanValue, kNanValue}}) {
        std::string first = small().bytes(), second = small().bytes_of_version_2();
        put(first, nifti1::kSclSlope, {slope, intercept});
        put(second, nifti2::kSclSlope, {static_cast<double>(slope), static_cast<double>(intercept)});
        expect_refused(first, "scl_slope");
        expect_refused(second, "scl_slope");
    }
    std::string unscaled = small().bytes();
    put(unscaled, nifti1::kSclSlope, {0.0f, kNanValue});  // a slope of 0 says that the intercept is not used
    EXPECT_EQ(read_image(save("unscaled.nii", unscaled)).voxels[1], 12.0f);
}

TEST_F(NiftiRange, SizesAreCounts) {
    for (const auto& [place, value] : {std::pair(0, 0), {0, 8}, {0, -3}, {1, 0}, {2, -3}, {3, -32768}}) {
        std::string first = small().bytes(), second = small().bytes_of_version_2();
        const auto at = static_cast<std::size_t>(place);
        put(first, nifti1::kAxes + 2 * at, {static_cast<std::int16_t>(value)});
        put(second, nifti2::kAxes + 8 * at, {std::int64_t{value}});
        expect_refused(first, place == 0 ? "axes" : "axis");
        expect_refused(second, place == 0 ? "axes" : "axis");
    }
    std::string second = small().bytes_of_version_2();
    put(second, nifti2::kAxes,
        {std::int64_t{7}, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
         INT64_MAX});  // a product beyond 2^63
    expect_refused(second, "axes");
    put(second, nifti2::kAxes, {std::int64_t{3}, INT64_MAX, INT64_MAX, INT64_MAX});
    expect_refused(second, "promises");
}

TEST_F(NiftiRange, TypesAreWholeOrRealNumbers) {
    for (const int type : {0, 1, 3, 32, 128, 255, 1792, 2048, 2304, -2, 32767}) {
        std::string first = small().bytes(), second = small().bytes_of_version_2();
        put(first, nifti1::kDatatype, {static_cast<std::int16_t>(type)});
        put(second, nifti2::kDatatype, {static_cast<std::int16_t>(type)});
        expect_refused(first, "type " + std::to_string(type));
        expect_refused(second, "type " + std::to_string(type));
    }
}

TEST_F(NiftiRange, VoxelSizesAreNotNegative) {
    std::string first = small().bytes(), second = small().bytes_of_version_2();
    put(first, nifti1::kPixdim + 8, {-1.0f});
    put(second, nifti2::kPixdim + 24, {-0.5});
    expect_refused(first, "pixdim[2]");
    expect_refused(second, "pixdim[3]");
}

TEST_F(NiftiRange, CodesAndUnitsAreTheStandards) {
    for (const int code : {6, -1, 999}) {
        std::string first = small().bytes(), second = small().bytes_of_version_2();
        put(first, nifti1::kSformCode, {static_cast<std::int16_t>(code)});
        put(second, nifti2::kQformCode, {std::int32_t{code}});
        expect_refused(first, "sform_code");
        expect_refused(second, "qform_code");
    }
    for (const int unit : {4, 5, 6, 7}) {
        std::string first = small().bytes(), second = small().bytes_of_version_2();
        put(first, nifti1::kXyztUnits, {static_cast<char>(unit | 8)});
        put(second, nifti2::kXyztUnits, {std::int32_t{unit}});
        expect_refused(first, "xyzt_units");
        expect_refused(second, "xyzt_units");
    }
}

}  // namespace
}  // namespace iwseg
