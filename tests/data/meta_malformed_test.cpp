#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "tests/data/meta_files.h"

namespace iwseg {
namespace {

struct Malformed {
    const char* says;  ///< a part of the sentence
    Header header;
    std::string bytes = counted(24);
};

TEST_F(MetaFiles, MalformedHeadersAreRefusedInOneSentence) {
    const Malformed table[] = {
        {"ObjectType", {{"ObjectType", "Tube"}}},
        {"NDims", {{"NDims", "2"}, {"DimSize", "4 6"}}},
        {"NDims", {{"NDims", "0"}}},
        {"NDims", {{"NDims", "11"}}},
        {"NDims", {{"NDims", "three"}}},
        {"NDims", {{"NDims", ""}}},
        {"NDims", {{"NDims", "99999999999999999999"}}},
        {"DimSize", {{"DimSize", "4 6"}}},
        {"DimSize", {{"DimSize", "4 3 2 1"}}},
        {"DimSize", {{"DimSize", "4 0 2"}}},
        {"DimSize", {{"DimSize", "4 -3 2"}}},
        {"DimSize", {{"DimSize", "4 3.5 2"}}},
        {"DimSize", {{"DimSize", "4 3 2x"}}},
        {"DimSize", {{"DimSize", "4,3,2"}}},
        {"DimSize", {{"NDims", "4"}, {"DimSize", "4 3 1 2"}}},
        {"DimSize", {{"DimSize", "4294967296 4294967296 4294967296"}}},
        {"DimSize", {{"DimSize", "9223372036854775807 9223372036854775807 2"}}},
        {"DimSize", {{"DimSize", "18446744073709551617 3 2"}}},
        {"too early", {{"DimSize", "2097152 2097152 2"}}},
        {"ElementType", {{"ElementType", "MET_STRING"}}},
        {"ElementType", {{"ElementType", "short"}}},
        {"ElementType", {{"ElementType", "MET_FLOAT_ARRAY"}}},
        {"ElementNumberOfChannels", {{"ElementNumberOfChannels", "3"}}},
        {"ElementNumberOfChannels", {{"ElementNumberOfChannels", "0"}}},
        {"BinaryData", {{"BinaryData", "False"}}},
        {"BinaryData", {{"BinaryData", "perhaps"}}},
        {"CompressedData", {{"CompressedData", "zstd"}}},
        {"contradict", {{"BinaryDataByteOrderMSB", "True"}, {"ElementByteOrderMSB", "False"}}},
        {"contradict", {{"Offset", "1 2 3"}, {"Origin", "1 2 4"}}},
        {"Offset", {{"Offset", "1 2"}}},
        {"Offset", {{"Offset", "1 2 inf"}}},
        {"Position", {{"Position", "1 2 3 4"}}},
        {"ElementSpacing", {{"ElementSpacing", "1 nan 1"}}},
        {"ElementSpacing", {{"ElementSpacing", "1 0 1"}}},
        {"ElementSpacing", {{"ElementSpacing", "1 1e999 1"}}},
        {"ElementSize", {{"ElementSize", "1 one 1"}}},
        {"singular", {{"TransformMatrix", "1 0 0 1 0 0 0 0 1"}}},
        {"singular", {{"TransformMatrix", "0 0 0 0 0 0 0 0 0"}}},
        {"singular", {{"TransformMatrix", "1 0 0 1 1e-9 0 0 0 1"}}},
        {"TransformMatrix", {{"TransformMatrix", "1 0 0 1"}}},
        {"Rotation", {{"Rotation", "1 0 0 0 1 0 0 0 nan"}}},
        {"too large", {{"TransformMatrix", "1e10 0 0 0 1 0 0 0 1"}, {"ElementSpacing", "1e300 1 1"}}},
        {"DistanceUnits", {{"DistanceUnits", "um"}}},
        {"DistanceUnits", {{"DistanceUnits", "cm"}}},
        {"ElementToIntensityFunctionSlope", {{"ElementToIntensityFunctionSlope", "0.5"}}},
        {"ElementToIntensityFunctionOffset", {{"ElementToIntensityFunctionOffset", "-1024"}}},
        {"ElementToIntensityFunctionSlope", {{"ElementToIntensityFunctionSlope", "nan"}}},
        {"HeaderSize", {{"HeaderSize", "-2"}}},
        {"HeaderSize", {{"HeaderSize", "some"}}},
        {"HeaderSize", {{"HeaderSize", "5"}}},
        {"too early", {{"HeaderSize", "1000000"}}},
        {"CompressedDataSize", {{"CompressedDataSize", "-1"}}},
        {"LOCAL", {{"ElementDataFile", ""}}},
        {"no such file", {{"ElementDataFile", "absent.raw"}}},
        {"not a regular file", {{"ElementDataFile", "."}}},
        {"not a regular file", {{"ElementDataFile", "/dev/zero"}}},
        {"not a regular file", {{"ElementDataFile", "pipe"}}},
        {"LIST", {{"ElementDataFile", "LIST 3"}}},
        {"LIST has 0 files", {{"ElementDataFile", "LIST"}}, ""},
        {"LIST has 3 files", {{"ElementDataFile", "LIST"}}, "a\nb\nc\n"},
        {"twice", {{"ElementDataFile", "LIST"}}, "a\na\n"},
        {"no such file", {{"ElementDataFile", "LIST"}}, "a\nb\n"},
        {"not text", {{"ElementDataFile", "LIST"}}, std::string("a\0b\nb\n", 6)},
        {"CompressedData", {{"CompressedData", "True"}, {"ElementDataFile", "LIST"}}, "a\nb\n"},
        {"no such file", {{"ElementDataFile", "s%d.raw 1 2 1"}}},
        {"one a slice", {{"ElementDataFile", "s%d.raw 1 3 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%s.raw 1 2 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%n%d.raw 1 2 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%999999999d.raw 1 2 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%d.raw 2 1 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%d.raw 1 2 0"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%d.raw -1 0 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%d.raw 1 2 1 1"}}},
        {"ElementDataFile", {{"ElementDataFile", "s%d.raw 1 9999999999 1"}}},
        {"at most", {{"DimSize", "1 1 2000000000"}, {"ElementDataFile", "s%d.raw 1 2000000000 1"}}},
        {"is not 'key = value'", {{"Comment", "x\nno separator"}}},
        {"not text", {{"Comment", std::string("\0\1\2", 3)}}},
        {"twice", {{"Comment", "x\nNDims = 3"}}},
        {"too early", {}, ""},
        {"too early", {}, counted(23)},
        {"too long", {}, counted(25)},
    };
    mkfifo((folder_ / "pipe").c_str(), 0600);
    int case_number = 0;
    for (const Malformed& malformed : table) {
        SCOPED_TRACE(testing::Message() << "case " << case_number++ << ", " << malformed.says);
        const std::string said = refusal(save("bad.mha", malformed.header.text() + malformed.bytes));
        EXPECT_NE(said.find(malformed.says), std::string::npos) << said;
    }
    EXPECT_GE(case_number, 50);
    for (std::size_t key = 1; key < 5; ++key) {
        Header lacking;
        const std::string name = lacking.keys[key].first;
        lacking.keys.erase(lacking.keys.begin() + static_cast<std::ptrdiff_t>(key));
        EXPECT_NE(refusal(save("lacking.mha", lacking.text())).find("has no " + name), std::string::npos) << name;
    }
}

TEST_F(MetaFiles, DamagedCompressionIsRefusedInOneSentence) {
    std::string noise(24, '\0');
    for (char& byte : noise) byte = static_cast<char>(random_());
    const std::string good = packed(noise);
    std::string flipped = good, checksum = good;
    flipped[0] ^= 0x55;
    checksum.back() ^= 1;
    const std::pair<const char*, std::string> table[] = {
        {"damaged", flipped},
        {"damaged", checksum},
        {"no end", good.substr(0, good.size() - 1)},
        {"too early", good.substr(0, good.size() / 2)},
        {"too early", packed(noise.substr(1))},
        {"too early", ""},
        {"too long", packed(noise + "x")},
        {"too long", packed(noise + std::string(std::size_t{1} << 26, '\0'))},
        {"too long", good + "x"},
        {"damaged", noise},
        {"damaged", std::string(100, '\0')},
    };
    for (const auto& [says, bytes] : table) {
        SCOPED_TRACE(says);
        const Header header{{"CompressedData", "True"}};
        const std::string said = refusal(save("packed.mha", header.text() + bytes));
        EXPECT_NE(said.find(says), std::string::npos) << said;
    }
    for (const int wrong : {-1, 1}) {
        const Header header{{"CompressedData", "True"},
                            {"CompressedDataSize", std::to_string(static_cast<int>(good.size()) + wrong)}};
        const std::string said = refusal(save("packed.mha", header.text() + good));
        EXPECT_NE(said.find(wrong < 0 ? "too long" : "too early"), std::string::npos) << said;
    }
    // 8e15 voxels that so few bytes cannot hold; memory for them is not asked for.
    const Header bomb{{"CompressedData", "True"}, {"DimSize", "200000 200000 200000"}};
    EXPECT_NE(refusal(save("bomb.mha", bomb.text() + packed(std::string(1 << 20, '\0')))).find("can hold at most"),
              std::string::npos);
}

TEST_F(MetaFiles, FilesThatAreNoneAreRefusedInOneSentence) {
    EXPECT_NE(refusal(folder_ / "absent.mhd").find("no such file"), std::string::npos);
    EXPECT_NE(refusal(folder_).find("not a regular file"), std::string::npos);
    EXPECT_NE(refusal(save("empty.mhd", "")).find("no ElementDataFile"), std::string::npos);
    std::string noise(2 << 20, '\0');
    for (char& byte : noise) byte = static_cast<char>(random_());
    EXPECT_NE(refusal(save("noise.mhd", noise)), "");
    EXPECT_NE(refusal(save("zeros.mhd", std::string(5000, '\0'))).find("not text"), std::string::npos);
    EXPECT_NE(refusal(save("lines.mhd", std::string(3 << 20, '\n'))).find("no ElementDataFile"), std::string::npos);
    mkfifo((folder_ / "pipe.mhd").c_str(), 0600);
    EXPECT_NE(refusal(folder_ / "pipe.mhd").find("not a regular file"), std::string::npos);
    // Every prefix of a good file is refused, whatever it lacks.
    const std::string good = Header{{"Offset", "1 2 3"}}.text() + counted(24);
    for (std::size_t length = 0; length < good.size(); ++length)
        EXPECT_NE(refusal(save("prefix.mha", good.substr(0, length))), "") << length;
}

}  // namespace
}  // namespace iwseg
