#include "data/volume/formats.h"

#include "base/atomic_file.h"
#include "data/dataset.h"
#include "data/preparation.h"
#include "tests/data/meta_files.h"

namespace iwseg {
namespace {

using std::filesystem::path;

/// What SimpleITK 2 wrote as .mha of an image of 4 x 3 x 2 voxels: turned, mirrored, spacing 0.75 x 1.5 x 3.2 mm.
const std::string kOfSimpleitk =
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    "TransformMatrix = 0.95533648912560598 0.29552020666133955 0 -0.28962947762551555 0.93629336358419923 "
    "-0.19866933079506122 0.058710801693826517 -0.18979606097868743 -0.98006657784124163\n"
    "Offset = -12.5 30.25 101\nCenterOfRotation = 0 0 0\nAnatomicalOrientation = RAS\n"
    "ElementSpacing = 0.75 1.5 3.2000000000000002\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
    "ElementDataFile = LOCAL\n";
/// The affine of the same image as .nii.gz, written by SimpleITK and read by nibabel: stored as float32.
constexpr double affine_of_nifti[3][4] = {{-0.71650230884552, 0.4344441890716553, -0.18787455558776855, 12.5},
                                          {-0.22164013981819153, -1.4044400453567505, 0.6073474287986755, -30.25},
                                          {-5.22617948917059e-10, -0.29800400137901306, -3.1362130641937256, 101.0}};

std::string shorts(int count) {
    std::string bytes;
    for (int v = 0; v < count; ++v) {
        const auto value = static_cast<std::int16_t>(v * 7 - 50);
        bytes.push_back(static_cast<char>(value & 0xff));
        bytes.push_back(static_cast<char>(value >> 8 & 0xff));
    }
    return bytes;
}

void expect_affine_of_nifti(const Geometry& geometry) {
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t column = 0; column < 4; ++column)
            // float32 keeps 7 digits of numbers up to 4.
            EXPECT_NEAR(geometry.affine[row][column], affine_of_nifti[row][column], 5e-7) << row << ' ' << column;
}

template <class Read>
std::string sentence_of(const Read& read) {
    try {
        read();
    } catch (const InputError& error) {
        return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return "";
}

using Formats = MetaFiles;

TEST_F(Formats, AMetaImageLiesWhereTheSameScanAsNiftiLies) {
    const path file = save("scan.mha", kOfSimpleitk + shorts(24));
    expect_affine_of_nifti(read_geometry(file));
    const Volume<float> image = read_image(file);
    expect_affine_of_nifti(image.geometry);
    EXPECT_EQ(image.voxels[(1 * 3 + 2) * 2 + 1], 97);  // as nibabel shows voxel (1, 2, 1) of the NIfTI file
    EXPECT_EQ(read_channel_count(file), 1);
    EXPECT_EQ(read_channel(file, 0).voxels, image.voxels);
}

TEST_F(Formats, AWrittenMetaImageReadsBackInItsPlace) {
    const Geometry geometry = read_geometry(save("scan.mha", kOfSimpleitk + shorts(24)));
    Volume<float> image{geometry, std::vector<float>(24)};
    Volume<std::int32_t> labels{geometry, std::vector<std::int32_t>(24)};
    for (std::size_t v = 0; v < 24; ++v) {
        image.voxels[v] = std::normal_distribution<float>(0, 1000)(random_);
        labels.voxels[v] = static_cast<std::int32_t>(random_());
    }
    write_volume(folder_ / "image.mha", image);
    write_volume(folder_ / "labels.mha", labels);
    const Volume<float> again = read_image(folder_ / "image.mha");
    EXPECT_EQ(again.voxels, image.voxels);
    EXPECT_EQ(read_labels(folder_ / "labels.mha").voxels, labels.voxels);
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t column = 0; column < 4; ++column)  // spacing times direction rounds twice
            EXPECT_NEAR(again.geometry.affine[row][column], geometry.affine[row][column], 1e-14 * 101);
    const Volume<std::uint8_t> mask{geometry, std::vector<std::uint8_t>(24, 200)};
    const Volume<std::int16_t> whole{geometry, std::vector<std::int16_t>(24, -300)};
    write_volume(folder_ / "mask.mha", mask);
    write_volume(folder_ / "whole.mha", whole);
    EXPECT_EQ(read_image(folder_ / "mask.mha").voxels, std::vector<float>(24, 200));
    EXPECT_EQ(read_image(folder_ / "whole.mha").voxels, std::vector<float>(24, -300));
}

TEST_F(Formats, TheSameVolumeIsReadFromEitherFormat) {
    const Volume<float> scan = read_image(save("scan.mha", kOfSimpleitk + shorts(24)));
    for (const VolumeFormat& format : volume_formats()) {
        const path file = folder_ / ("again" + format.endings.front());
        write_volume(file, scan);
        EXPECT_EQ(read_image(file).voxels, scan.voxels) << format.name;
        expect_affine_of_nifti(read_geometry(file));
        EXPECT_GE(reading_bytes(file), 24 * 4) << format.name;
    }
}

TEST(FormatNames, EndingsOfAllFormatsAreTakenOffNames) {
    EXPECT_EQ(name_without_ending("scans/a.b.nii.gz"), "a.b");
    EXPECT_EQ(name_without_ending("a.nii"), "a");
    EXPECT_EQ(name_without_ending("folder.nii/A_0000.MHA"), "A_0000");
    EXPECT_EQ(name_without_ending("a.mhd"), "a");
    EXPECT_EQ(name_without_ending("a.gz"), "a.gz");  // of no format
    EXPECT_EQ(name_without_ending("a.nrrd"), "a");
    EXPECT_EQ(name_without_ending("a.dcm"), "a.dcm");
}

TEST_F(Formats, AnUnknownEndingIsRefusedNamingTheKnownOnes) {
    const path file = save("scan.dcm", "DICM");
    for (const std::string& sentence :
         {sentence_of([&] { read_image(file); }), sentence_of([&] { read_labels(file); }),
          sentence_of([&] { read_geometry(file); }), sentence_of([&] { write_volume(file, Volume<float>{}); })})
        EXPECT_EQ(
            sentence,
            file.string() + " is in no known format: its name must end in .nii.gz, .nii, .mha, .mhd, .nrrd or .nhdr");
}

TEST_F(Formats, MetaImageIsWrittenAsOneFile) {
    const Volume<float> volume{{{1, 1, 1}}, {1}};
    EXPECT_NE(sentence_of([&] { write_volume(folder_ / "scan.mhd", volume); }).find(".mha"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "scan.mhd"));
    EXPECT_FALSE(is_written(".mhd"));
    EXPECT_FALSE(is_written("nii.gz"));
    EXPECT_EQ(written_endings(), ".nii.gz, .nii, .mha or .nrrd");
    for (const VolumeFormat& format : volume_formats()) EXPECT_TRUE(is_written(format.endings.front()));
}

TEST_F(Formats, ADatasetOfMetaImagesIsReadAsOneOfNifti) {
    std::filesystem::create_directories(folder_ / "imagesTr");
    std::filesystem::create_directories(folder_ / "labelsTr");
    for (const std::string name : {"b", "a"}) {
        save("imagesTr/" + name + "_0000.mha", kOfSimpleitk + shorts(24));
        save("imagesTr/" + name + "_0001.mha", kOfSimpleitk + shorts(24));
        save("labelsTr/" + name + ".mha", kOfSimpleitk + std::string("\1\0", 2) + std::string(46, '\0'));
    }
    write_text(folder_ / "dataset.json",
               R"({"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"lesion": 1}, "file_ending": ".mha"})");
    const Dataset dataset = open_dataset(folder_);
    ASSERT_EQ(dataset.cases.size(), 2u);
    EXPECT_EQ(dataset.cases[0].name, "a");
    const PreparedCase scan = prepare_case(dataset, dataset.cases[1], {});
    EXPECT_EQ(scan.channels, 2);
    EXPECT_EQ(scan.lesions.voxels, std::vector<std::uint32_t>{0});
    expect_affine_of_nifti(scan.geometry);
    write_text(folder_ / "dataset.json", R"({"channel_names": {"0": "CT"}, "file_ending": ".dcm"})");
    EXPECT_NE(sentence_of([&] { open_dataset(folder_); }).find(".nii.gz, .nii, .mha, .mhd, .nrrd or .nhdr can be read"),
              std::string::npos);
}

TEST_F(Formats, AMetaImageHasOneChannel) {
    const path file = save("scan.mha", kOfSimpleitk + shorts(24));
    EXPECT_EQ(sentence_of([&] { read_channel(file, 2); }), file.string() + " has 1 channel, so there is no channel 2");
}

}  // namespace
}  // namespace iwseg
