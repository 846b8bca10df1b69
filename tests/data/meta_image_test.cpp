#include "data/volume/meta_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/data/meta_files.h"

namespace iwseg {
namespace {

using std::filesystem::path;

class MetaTypes : public MetaFiles {
  protected:
    template <class T>
    void expect_type_read(const std::string& name);
};

/// Random values from the type's whole range; of reals, those that a float holds.
template <class T>
std::vector<T> random_values(std::mt19937& random, std::size_t count) {
    std::vector<T> values(count);
    for (T& value : values) {
        if constexpr (std::is_floating_point_v<T>)
            value = std::uniform_real_distribution<float>(-1e6f, 1e6f)(random);
        else
            value = static_cast<T>(std::uint64_t{random()} << 32 | random());
    }
    return values;
}

template <class T>
std::string file_bytes(const std::vector<T>& values, bool big_endian) {
    std::string bytes;
    for (const T value : values) {
        char raw[sizeof(T)];
        std::memcpy(raw, &value, sizeof(T));
        if (big_endian) std::reverse(raw, raw + sizeof(T));
        bytes.append(raw, sizeof(T));
    }
    return bytes;
}

template <class T>
void MetaTypes::expect_type_read(const std::string& name) {
    std::uniform_int_distribution<std::size_t> side(1, 37);
    for (const bool big_endian : {false, true})
        for (int form = 0; form < 6; ++form) {
            const std::size_t ni = side(random_), nj = side(random_), nk = side(random_);
            SCOPED_TRACE(testing::Message() << name << (big_endian ? " big" : " little") << " form " << form << " "
                                            << ni << " x " << nj << " x " << nk);
            const auto values = random_values<T>(random_, ni * nj * nk);
            const std::string bytes = file_bytes(values, big_endian);
            const std::string stored = form < 2 ? bytes : packed(bytes, form == 4);
            Header header{{"DimSize", std::to_string(ni) + " " + std::to_string(nj) + " " + std::to_string(nk)},
                          {"ElementType", name},
                          {form % 2 ? "BinaryDataByteOrderMSB" : "ElementByteOrderMSB", big_endian ? "True" : "False"}};
            if (form >= 2) header.set("CompressedData", "True");
            if (form == 3 || form == 5) header.set("CompressedDataSize", std::to_string(stored.size()));
            // 0 raw, 1 mha, 2 mha, 3 mha with size, 4 gzip in zraw, 5 zraw with size
            const bool apart = form == 0 || form >= 4;
            if (apart) header.set("ElementDataFile", "voxels.bin");
            save("voxels.bin", apart ? stored : "");
            const path file = save("typed.mhd", header.text() + (apart ? "" : stored));
            const Volume<float> volume = read_meta_image(file);
            ASSERT_EQ(volume.voxels.size(), values.size());
            bool whole = std::is_integral_v<T>;
            for (std::size_t v = 0; v < values.size(); ++v) {
                const std::size_t i = v % ni, j = v / ni % nj, k = v / ni / nj;
                ASSERT_EQ(volume.voxels[(i * nj + j) * nk + k], static_cast<float>(values[v]));
                if constexpr (std::is_integral_v<T>) whole = whole && std::in_range<std::int32_t>(values[v]);
            }
            if (!whole) {
                EXPECT_THROW(read_meta_labels(file), InputError);
                continue;
            }
            const Volume<std::int32_t> labels = read_meta_labels(file);
            for (std::size_t v = 0; v < values.size(); ++v)
                ASSERT_EQ(labels.voxels[(v % ni * nj + v / ni % nj) * nk + v / ni / nj],
                          static_cast<std::int32_t>(values[v]));
        }
}

TEST_F(MetaTypes, EveryTypeIsReadInBothByteOrdersFromEveryContainer) {
    expect_type_read<std::int8_t>("MET_CHAR");
    expect_type_read<std::uint8_t>("MET_UCHAR");
    expect_type_read<std::int16_t>("MET_SHORT");
    expect_type_read<std::uint16_t>("MET_USHORT");
    expect_type_read<std::int32_t>("MET_INT");
    expect_type_read<std::uint32_t>("MET_UINT");
    expect_type_read<std::int32_t>("MET_LONG");  // four bytes in ITK, on every machine
    expect_type_read<std::uint32_t>("MET_ULONG");
    expect_type_read<std::int64_t>("MET_LONG_LONG");
    expect_type_read<std::uint64_t>("MET_ULONG_LONG");
    expect_type_read<float>("MET_FLOAT");
    expect_type_read<double>("MET_DOUBLE");
}

TEST_F(MetaFiles, KeysComeInAnyOrderWithAnySpacing) {
    const Header header;
    for (const char* between : {"=", " = ", "   =\t", " : ", ":"})
        for (const char* end : {"\n", "\r\n", "  \n", "\n\n"}) {
            Keys keys = header.keys;
            std::shuffle(keys.begin(), keys.end() - 1, random_);
            Header shuffled;
            shuffled.keys = keys;
            // What follows the last line belongs to the voxels.
            std::string text = shuffled.text(between, end);
            if (std::string(end) == "\n\n") text.pop_back();
            expect_counted(read_meta_image(save("order.mha", text + counted(24))));
        }
    Header talkative{{"Comment", "made by: hand = yes"}, {"Modality", "MET_MOD_CT"}, {"SeriesUID", "1.2.3"}};
    talkative.keys.insert(talkative.keys.begin(), {"Comment", "a second one"});
    read_counted(talkative);
}

// SimpleITK 2.5.7: im = sitk.ReadImage(file) of this header; im.GetDirection(), im.GetSpacing(), and
// [im.TransformIndexToPhysicalPoint(p) for p in [(0,0,0),(1,0,0),(0,1,0),(0,0,1),(3,2,1)]].
TEST_F(MetaFiles, ObliqueGeometryIsWhatItkSays) {
    const Header header{{"TransformMatrix", "0.36 0.48 -0.8 -0.8 0.6 0 0.48 0.64 0.6"},
                        {"Offset", "-195.5 12.25 -378.75"},
                        {"ElementSpacing", "0.5 -0.75 2.5"}};
    const Geometry geometry = read_counted(header).geometry;
    const std::array<double, 3> voxels[] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {3, 2, 1}};
    const std::array<double, 3> lps[] = {{-195.5, 12.25, -378.75},
                                         {-195.32, 12.49, -379.15},
                                         {-194.9, 11.8, -378.75},
                                         {-194.3, 13.85, -377.25},
                                         {-192.56, 13.67, -378.45}};
    for (std::size_t p = 0; p < std::size(voxels); ++p)
        for (std::size_t row = 0; row < 3; ++row) {
            double place = geometry.affine[row][3];
            for (std::size_t axis = 0; axis < 3; ++axis) place += geometry.affine[row][axis] * voxels[p][axis];
            // Printed with 12 digits and more.
            EXPECT_NEAR(place, (row < 2 ? -1 : 1) * lps[p][row], 1e-9) << "voxel " << p << " row " << row;
        }
    const MetaHeader read = read_meta_header(folder_ / "counted.mha");
    EXPECT_EQ(read.offset, (std::array<double, 3>{-195.5, 12.25, -378.75}));
    EXPECT_EQ(read.spacing, (std::array<double, 3>{0.5, 0.75, 2.5}));
    const double itk[3][3] = {{0.36, 0.8, 0.48}, {0.48, -0.6, 0.64}, {-0.8, 0.0, 0.6}};
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t axis = 0; axis < 3; ++axis) EXPECT_EQ(read.direction[row][axis], itk[row][axis]);
}

TEST_F(MetaFiles, KeysWithSeveralNamesMeanTheSame) {
    for (const char* key : {"Offset", "Position", "Origin"})
        EXPECT_EQ(read_counted({{key, "4 +5 -6e-1"}}).geometry.affine[1][3], -5.0);
    for (const char* key : {"TransformMatrix", "Rotation", "Orientation"}) {
        const Geometry geometry = read_counted({{key, "-1 0 0 0 -1 0 0 0 1"}}).geometry;
        EXPECT_EQ(geometry.affine[0][0], 1.0);
        EXPECT_EQ(geometry.affine[1][1], 1.0);
        EXPECT_EQ(geometry.affine[2][2], 1.0);
    }
    EXPECT_EQ(read_counted({{"ElementSize", "2 3 4"}}).geometry.spacing(), (std::array<double, 3>{2, 3, 4}));
    const Header both{{"ElementSize", "2 3 4"}, {"ElementSpacing", "5 6 7"}};
    EXPECT_EQ(read_counted(both).geometry.spacing(), (std::array<double, 3>{5, 6, 7}));
    read_counted({{"Offset", "1 2 3"}, {"Position", "1.0 2 3"}});
    // Told apart by the affine alone, ITK does not look at it.
    EXPECT_EQ(read_counted({{"AnatomicalOrientation", "RAS"}}).geometry.affine[0][0], -1.0);
}

TEST_F(MetaFiles, TrailingAxesOfOneAreDropped) {
    Header header{{"NDims", "4"}, {"DimSize", "4 3 2 1"}, {"Offset", "1 2 3 9"}, {"ElementSpacing", "2 3 4 9"}};
    header.set("TransformMatrix", "1 0 0 0  0 0 1 0  0 1 0 0  0 0 0 1");
    const Geometry geometry = read_counted(header).geometry;
    EXPECT_EQ(geometry.affine[2], (std::array<double, 4>{0, 3, 0, 3}));
}

TEST_F(MetaFiles, HeaderSizeSkipsTheStartOfTheDataFile) {
    const std::string junk = "DICM junk";
    save("junk.raw", junk + counted(24));
    save("junk.zraw", junk + packed(counted(24)));
    for (const char* size : {"9", "-1"})
        expect_counted(
            read_meta_image(save("skip.mhd", Header{{"HeaderSize", size}, {"ElementDataFile", "junk.raw"}}.text())));
    Header compressed{{"HeaderSize", "9"}, {"CompressedData", "True"}, {"ElementDataFile", "junk.zraw"}};
    expect_counted(read_meta_image(save("skip.mhd", compressed.text())));
    compressed.set("HeaderSize", "-1");
    EXPECT_NE(refusal(save("skip.mhd", compressed.text())).find("CompressedDataSize"), std::string::npos);
    compressed.set("CompressedDataSize", std::to_string(packed(counted(24)).size()));
    expect_counted(read_meta_image(save("skip.mhd", compressed.text())));
    read_counted({{"HeaderSize", "-1"}}, junk + counted(24));
    // It counts from the file's first byte, in a file with the header too.
    const Header local{{"HeaderSize", "200"}};
    read_counted(local, std::string(200 - local.text().size(), '#') + counted(24));
}

TEST_F(MetaFiles, SlicesOfTheirOwnAreReadInOrder) {
    std::string list = Header{{"ElementDataFile", "LIST"}}.text();
    for (int k = 0; k < 2; ++k) {
        save("s" + std::to_string(7 + 3 * k) + ".raw", counted(24).substr(12 * k, 12));
        save("z0" + std::to_string(7 + k) + ".raw", counted(24).substr(12 * k, 12));
        save("w " + std::to_string(1 + k) + ".raw", counted(24).substr(12 * k, 12));
        list += "w " + std::to_string(1 + k) + ".raw\r\n";
    }
    expect_counted(read_meta_image(save("list.mhd", list)));
    for (const char* pattern :
         {"s%d.raw 7 10 3", "s%d.raw 7 11 3", "s%01d.raw 7 10", "z%02d.raw 7 8 1", "z%02d.raw 7", "z0%d.raw 7 8"}) {
        SCOPED_TRACE(pattern);
        expect_counted(read_meta_image(save("pattern.mhd", Header{{"ElementDataFile", pattern}}.text())));
    }
    const path folder = folder_ / "w 1.raw";
    const Header absolute{{"DimSize", "4 3 1"}, {"ElementDataFile", folder.string()}};
    EXPECT_EQ(read_meta_image(save("absolute.mhd", absolute.text())).voxels[1 * 3], 1.0f);
}

TEST_F(MetaFiles, AHeaderIsReadWithoutItsDataFile) {
    const MetaHeader header = read_meta_header(save("alone.mhd", Header{{"ElementDataFile", "absent.raw"}}.text()));
    EXPECT_EQ(header.shape, (std::array<std::int64_t, 3>{4, 3, 2}));
}

TEST_F(MetaFiles, LabelsMustBeWholeNumbersOfInt32) {
    for (const double bad : {0.5, std::nan(""), 3e9, -std::numeric_limits<double>::infinity()}) {
        std::vector<double> values(24, 7.0);
        values[random_() % 24] = bad;
        const path file = save("labels.mha", Header{{"ElementType", "MET_DOUBLE"}}.text() + file_bytes(values, false));
        EXPECT_THROW(read_meta_labels(file), InputError) << bad;
    }
    const std::vector<float> values(24, -2147483648.0f);
    const path file = save("labels.mha", Header{{"ElementType", "MET_FLOAT"}}.text() + file_bytes(values, false));
    EXPECT_EQ(read_meta_labels(file).voxels[5], std::numeric_limits<std::int32_t>::min());
    const std::vector<float> rounded(24, 0.99999994f);  // as ITK's filters leave a mask
    const path mask = save("mask.mha", Header{{"ElementType", "MET_FLOAT"}}.text() + file_bytes(rounded, false));
    EXPECT_EQ(read_meta_labels(mask).voxels[5], 1);
}

TEST_F(MetaFiles, KeysThatSayNothingNewAreTaken) {
    const Geometry geometry =
        read_counted({{"DistanceUnits", "mm"}, {"ElementToIntensityFunctionSlope", "1"}}).geometry;
    EXPECT_EQ(geometry.spacing(), read_counted({{"DistanceUnits", "?"}}).geometry.spacing());
}

}  // namespace
}  // namespace iwseg
