#include "data/volume/volume.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/nifti_header.h"
#include "tests/data/nifti_files.h"

namespace iwseg {
namespace {

using std::filesystem::path;

class VolumeFiles : public NiftiFiles {
  protected:
    template <class T>
    void expect_type_read(std::int16_t type, bool swap) {
        SCOPED_TRACE(testing::Message() << "type " << type << " swapped " << swap);
        RawNifti raw;
        raw.type = type;
        raw.bits = 8 * sizeof(T);
        raw.swap = swap;
        raw.slope = 0.5f;
        raw.intercept = -3;
        std::vector<T> values(24);
        // Values to 127 that every type holds; negative where there is a sign.
        for (T& value : values) {
            value = static_cast<T>(random_() % 128);
            if (std::numeric_limits<T>::is_signed && random_() % 2) value = static_cast<T>(-value);
            raw.append(value);
        }
        const Volume<float> volume = read_image(save("typed.nii", raw.bytes()));
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 3; ++j)
                for (int k = 0; k < 2; ++k)
                    ASSERT_EQ(volume.voxels[(i * 3 + j) * 2 + k],
                              static_cast<float>(static_cast<double>(values[i + 4 * (j + 3 * k)]) * 0.5 - 3));
    }
};

TEST_F(VolumeFiles, EveryTypeIsReadInBothByteOrders) {
    for (const bool swap : {false, true}) {
        expect_type_read<std::uint8_t>(2, swap);
        expect_type_read<std::int16_t>(4, swap);
        expect_type_read<std::int32_t>(8, swap);
        expect_type_read<float>(16, swap);
        expect_type_read<double>(64, swap);
        expect_type_read<std::int8_t>(256, swap);
        expect_type_read<std::uint16_t>(512, swap);
        expect_type_read<std::uint32_t>(768, swap);
        expect_type_read<std::int64_t>(1024, swap);
        expect_type_read<std::uint64_t>(1280, swap);
    }
}

TEST_F(VolumeFiles, QuadruplePrecisionIsRead) {
    RawNifti raw;
    raw.dim = {3, 2, 2, 1, 1, 1, 1, 1};
    raw.type = 1536;
    raw.bits = 128;
    // 1, -1.5, 0 and 2^-3 as IEEE 754 binary128.
    for (const std::uint64_t high : {0x3fff000000000000ul, 0xbfff800000000000ul, 0ul, 0x3ffc000000000000ul}) {
        raw.append(std::uint64_t{0});
        raw.append(high);
    }
    const Volume<float> volume = read_image(save("quad.nii", raw.bytes()));
    EXPECT_EQ(volume.voxels, (std::vector<float>{1.0f, 0.0f, -1.5f, 0.125f}));
}

TEST_F(VolumeFiles, AffineAndSpacingComeFromTheSform) {
    const Volume<float> volume = read_image(save_gz("small.nii.gz", small().bytes()));
    EXPECT_EQ(volume.geometry.shape, (std::array<std::int64_t, 3>{4, 3, 2}));
    EXPECT_EQ(volume.geometry.affine[0], (std::array<double, 4>{2, 0, 0, -5}));
    EXPECT_EQ(volume.geometry.affine[2], (std::array<double, 4>{0, 0.5, 4, 11}));
    EXPECT_NEAR(volume.geometry.spacing()[1], std::hypot(3.0, 0.5), 1e-12);
}

TEST_F(VolumeFiles, TrailingAxesOfOneAreDroppedAndChannelsAreReadOneByOne) {
    RawNifti raw = small();
    raw.dim = {5, 4, 3, 2, 1, 1, 1, 1};
    EXPECT_EQ(read_image(save("five.nii", raw.bytes())).voxels.size(), 24u);
    raw.dim = {4, 4, 3, 2, 2, 1, 1, 1};
    for (int v = 24; v < 48; ++v) raw.append(static_cast<float>(v));
    const path file = save_gz("channels.nii.gz", raw.bytes());
    EXPECT_EQ(read_channel(file, 0).voxels[1], 12.0f);
    EXPECT_EQ(read_channel(file, 1).voxels[1], 36.0f);
    EXPECT_THROW(read_channel(file, 2), InputError);
}

TEST_F(VolumeFiles, MalformedFilesAreRefusedInOneSentence) {
    refusal(folder_ / "absent.nii.gz");
    refusal(save("empty.nii.gz", ""));
    EXPECT_NE(refusal(save("text.nii", std::string(1000, 'x'))).find("not a NIfTI"), std::string::npos);
    const std::string good = small().bytes();
    EXPECT_NE(refusal(save("short.nii", good.substr(0, good.size() - 1))).find("too early"), std::string::npos);
    EXPECT_NE(refusal(save("header.nii", good.substr(0, 200))).find("not a NIfTI"), std::string::npos);

    std::string noisy = good;
    for (std::size_t v = 352; v < noisy.size(); ++v) noisy[v] = static_cast<char>(random_());
    const path whole = save_gz("whole.nii.gz", noisy);
    const std::string packed = read_text(whole);
    for (const std::size_t lost : {1, 9, 50})
        EXPECT_NE(refusal(save("cut.nii.gz", packed.substr(0, packed.size() - lost))).find("too early"),
                  std::string::npos);
    refusal(save("cut.nii.gz", packed.substr(0, 40)));
    std::string flipped = packed;
    flipped[packed.size() - 6] ^= 1;  // the checksum
    EXPECT_NE(refusal(save("damaged.nii.gz", flipped)).find("damaged"), std::string::npos);

    RawNifti lying = small();
    lying.dim = {3, 30000, 30000, 30000, 1, 1, 1, 1};
    EXPECT_NE(refusal(save("lying.nii", lying.bytes())).find("promises"), std::string::npos);
    EXPECT_NE(refusal(save_gz("lying.nii.gz", lying.bytes())).find("promises"), std::string::npos);
    lying.dim = {3, 4, -3, 2, 1, 1, 1, 1};
    refusal(save("negative.nii", lying.bytes()));
    lying.dim = {9, 4, 3, 2, 1, 1, 1, 1};
    refusal(save("nine.nii", lying.bytes()));
    RawNifti complex = small();
    complex.type = 32;
    complex.bits = 64;
    complex.voxels += complex.voxels;
    EXPECT_NE(refusal(save("complex.nii", complex.bytes())).find("type 32"), std::string::npos);
}

TEST_F(VolumeFiles, TwoAndFourDimensionalFilesAreRefused) {
    RawNifti raw = small();
    raw.dim = {2, 4, 6, 1, 1, 1, 1, 1};
    EXPECT_NE(refusal(save("two.nii", raw.bytes())).find("2 axes"), std::string::npos);
    const std::string bytes = raw.bytes();
    EXPECT_THROW(parse_nifti_header("two.nii", std::as_bytes(std::span(bytes))), InputError) << "its own reader";
    raw.dim = {4, 2, 3, 2, 2, 1, 1, 1};
    EXPECT_NE(refusal(save("four.nii", raw.bytes())).find("4 axes"), std::string::npos);
}

TEST_F(VolumeFiles, DataBeyondTheHeadersSizeIsNotInflated) {
    const path file = save_gz("bomb.nii.gz", small().bytes() + std::string(std::size_t{1} << 26, '\0'));
    EXPECT_EQ(read_image(file).voxels.size(), 24u);
}

TEST_F(VolumeFiles, MasksOfSpmAndItkAreRead) {
    RawNifti spm;
    spm.type = 2;
    spm.bits = 8;
    spm.slope = 1.0f / 255;
    for (int v = 0; v < 24; ++v) spm.append(static_cast<std::uint8_t>(v == 7 ? 255 : 0));
    EXPECT_EQ(read_labels(save("spm.nii", spm.bytes())).voxels[(3 * 3 + 1) * 2], 1);  // 7 is (3, 1, 0)
    spm.voxels[3] = static_cast<char>(254);
    EXPECT_THROW(read_labels(save("grey.nii", spm.bytes())), InputError);
    RawNifti itk;
    for (int v = 0; v < 24; ++v) itk.append(v == 7 ? 0.99999994f : 0.0f);
    EXPECT_EQ(read_labels(save("itk.nii", itk.bytes())).voxels[(3 * 3 + 1) * 2], 1);
}

TEST_F(VolumeFiles, LabelsMustBeWholeNumbersOfInt32) {
    for (const double bad : {0.5, std::nan(""), 3e9, -std::numeric_limits<double>::infinity()}) {
        RawNifti raw;
        raw.type = 64;
        raw.bits = 64;
        for (int v = 0; v < 24; ++v) raw.append(v == 5 ? bad : 16777217.0);
        EXPECT_THROW(read_labels(save("labels.nii", raw.bytes())), InputError) << bad;
    }
    RawNifti raw;
    raw.type = 8;
    raw.bits = 32;
    for (int v = 0; v < 24; ++v) raw.append(std::int32_t{16777217});  // more than a float holds
    EXPECT_EQ(read_labels(save("labels.nii", raw.bytes())).voxels[0], 16777217);
}

template <class T>
Volume<T> random_volume(std::mt19937& random, std::array<std::int64_t, 3> shape) {
    Volume<T> volume;
    volume.geometry.shape = shape;
    std::uniform_real_distribution<double> value(-90, 90);
    for (auto& row : volume.geometry.affine)
        for (double& entry : row) entry = value(random);
    volume.voxels.resize(static_cast<std::size_t>(volume.geometry.voxels()));
    for (T& voxel : volume.voxels) voxel = static_cast<T>(std::abs(value(random)));
    return volume;
}

TEST_F(VolumeFiles, WrittenVolumesAreReadBack) {
    for (const char* name : {"a.nii", "a.nii.gz"}) {
        std::uniform_int_distribution<int> side(1, 40);
        const auto image = random_volume<float>(random_, {side(random_), side(random_), side(random_)});
        write_volume(folder_ / name, image);
        const Volume<float> read = read_image(folder_ / name);
        EXPECT_EQ(read.voxels, image.voxels);
        EXPECT_EQ(read.geometry.shape, image.geometry.shape);
        // The file holds the affine as f32.
        for (int row = 0; row < 3; ++row)
            for (int column = 0; column < 4; ++column)
                EXPECT_NEAR(read.geometry.affine[row][column], image.geometry.affine[row][column], 1e-5);
        const auto labels = random_volume<std::int32_t>(random_, {3, side(random_), 5});
        write_volume(folder_ / name, labels);
        EXPECT_EQ(read_labels(folder_ / name).voxels, labels.voxels);
        const auto mask = random_volume<std::uint8_t>(random_, {3, side(random_), 5});
        write_volume(folder_ / name, mask);
        EXPECT_EQ(read_image(folder_ / name).voxels, std::vector<float>(mask.voxels.begin(), mask.voxels.end()));
        const auto hounsfield = random_volume<std::int16_t>(random_, {3, side(random_), 5});
        write_volume(folder_ / name, hounsfield);
        EXPECT_EQ(read_image(folder_ / name).voxels,
                  std::vector<float>(hounsfield.voxels.begin(), hounsfield.voxels.end()));
        EXPECT_FALSE(std::filesystem::exists(folder_ / (std::string(name) + ".part")));
    }
}

TEST_F(VolumeFiles, AnAxisBeyondInt16IsWrittenAsNifti2) {
    const auto volume = random_volume<std::uint8_t>(random_, {40000, 2, 1});
    write_volume(folder_ / "long.nii", volume);
    EXPECT_EQ(std::filesystem::file_size(folder_ / "long.nii"), 544u + 80000u);
    const Volume<std::int32_t> read = read_labels(folder_ / "long.nii");
    EXPECT_EQ(read.geometry.shape, volume.geometry.shape);
    EXPECT_TRUE(std::equal(read.voxels.begin(), read.voxels.end(), volume.voxels.begin()));
}

TEST_F(VolumeFiles, NothingIsLeftWhereAVolumeCannotBeWritten) {
    const auto volume = random_volume<std::uint8_t>(random_, {4, 4, 4});
    EXPECT_THROW(write_volume(folder_ / "absent" / "a.nii.gz", volume), InputError);
    EXPECT_THROW(write_volume(folder_ / "a.img", volume), InputError);
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

/// Voxels of 0.5 x 0.5 x 5 mm on an oblique grid.
Geometry thick_slices() {
    Geometry geometry;
    geometry.shape = {200, 200, 20};
    geometry.affine = {{{0.3, -0.4, 0, 10}, {0.4, 0.3, 0, -20}, {0, 0, 5, 30}}};
    return geometry;
}

TEST(SameGeometry, AHundredthOfAVoxelIsAllowedAtTheFarthestCorner) {
    const Geometry a = thick_slices();
    for (const auto& [along, allowed] : {std::pair(2, 0.05), std::pair(0, 0.005), std::pair(1, 0.005)}) {
        Geometry b = a;
        const std::array<std::array<double, 3>, 3> unit{{{0.6, 0.8, 0}, {-0.8, 0.6, 0}, {0, 0, 1}}};
        for (int row = 0; row < 3; ++row) b.affine[row][3] = a.affine[row][3] + 0.9 * allowed * unit[along][row];
        require_same_geometry(a, "a.nii", b, "b.nii");
        for (int row = 0; row < 3; ++row) b.affine[row][3] = a.affine[row][3] + 1.1 * allowed * unit[along][row];
        EXPECT_THROW(require_same_geometry(a, "a.nii", b, "b.nii"), InputError) << along;
    }
    Geometry turned = a;  // 199 steps of 5e-5 mm are 0.01 mm: no entry differs by much, the corner does
    turned.affine[0][0] += 5e-5;
    EXPECT_THROW(require_same_geometry(a, "a.nii", turned, "b.nii"), InputError);
    turned.affine[0][0] = a.affine[0][0] + 2e-5;
    require_same_geometry(a, "a.nii", turned, "b.nii");
}

TEST(SameGeometry, ShapeThatDiffersIsNamed) {
    const Geometry a = thick_slices();
    Geometry b = a;
    b.shape[2] = 19;
    EXPECT_THROW(require_same_geometry(a, "a.nii", b, "b.nii"), InputError);
}

TEST(LabelValue, WhatRoundingMadeOfAWholeNumberIsThatNumber) {
    EXPECT_EQ(label_of(3), 3);
    EXPECT_EQ(label_of(0.99999994), 1);
    EXPECT_EQ(label_of(-1e-5), 0);
    EXPECT_EQ(label_of(1000.00006), 1000);
    for (const double bad : {0.5, 0.999, 1.0002, 3e9, -3e9, std::nan(""), HUGE_VAL}) EXPECT_FALSE(label_of(bad)) << bad;
}

TEST(LabelValue, AScaledLabelIsTheNearestStepAndNoOther) {
    EXPECT_EQ(label_of(255 * 0.003921569, 0.003921569), 1);
    EXPECT_EQ(label_of(128 * (2.0 / 255), 2.0 / 255), 1);  // of 0, 1, 2 over 255 steps: 1 lies between two of them
    for (const int step : {1, 128, 254}) EXPECT_FALSE(label_of(step / 255.0, 1 / 255.0)) << step;
    EXPECT_FALSE(label_of(0.98, 0.1)) << "a coarse scale allows no more than a hundredth";
}

TEST(RealScan, MultipleSclerosisScanIsRead) {
    const path folder = path(IWSEG_SHARED_DIR) / "data/ms_lesions";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "../shared/data/ms_lesions is not here";
    const Volume<float> flair = read_image(folder / "imagesTr/MS07_0000.nii.gz");
    const Volume<std::int32_t> labels = read_labels(folder / "labelsTr/MS07.nii.gz");
    EXPECT_EQ(flair.geometry.shape, (std::array<std::int64_t, 3>{182, 218, 182}));
    require_same_geometry(flair.geometry, "image", labels.geometry, "label");
    EXPECT_GT(std::count(labels.voxels.begin(), labels.voxels.end(), 1), 0);
}

}  // namespace
}  // namespace iwseg
