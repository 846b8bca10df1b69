#include "data/volume/nrrd.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "tests/data/meta_files.h"

namespace iwseg {
namespace {

using std::filesystem::path;

/// A header of 4 x 3 x 2 bytes, which a test changes as it needs. A field changed to "-" is left out.
struct NrrdHeader {
    Keys fields{{"type", "uint8"}, {"dimension", "3"}, {"sizes", "4 3 2"}, {"encoding", "raw"}};

    NrrdHeader(std::initializer_list<std::pair<std::string, std::string>> changes = {}) {
        for (const auto& [field, value] : changes) {
            const auto known = std::find_if(fields.begin(), fields.end(),
                                            [&wanted = field](const auto& one) { return one.first == wanted; });
            if (known == fields.end())
                fields.emplace_back(field, value);
            else if (value == "-")
                fields.erase(known);
            else
                known->second = value;
        }
    }
    std::string text(const std::string& end = "\n") const {
        std::string lines = "NRRD0004" + end;
        for (const auto& [field, value] : fields) lines += field + ": " + value + end;
        return lines + end;
    }
};

class NrrdFiles : public MetaFiles {
  protected:
    /// The sentence by which the file is refused; it names the file and is one line.
    static std::string nrrd_refusal(const path& file) {
        try {
            read_nrrd_image(file);
        } catch (const InputError& error) {
            const std::string message = error.what();
            EXPECT_NE(message.find(file.filename().string()), std::string::npos) << message;
            EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            EXPECT_LT(message.size(), 500u) << message;
            return message;
        }
        return "";
    }
    Geometry geometry_of(const NrrdHeader& header) const { return read_nrrd_geometry(save("g.nrrd", header.text())); }
};

/// What SimpleITK 2.5.7 wrote as .nrrd of the image of tests/data/formats_test.cpp: turned, mirrored, spacing 0.75 x
/// 1.5 x 3.2 mm.
const std::string kNrrdOfSimpleitk =
    "NRRD0004\n# Complete NRRD file format specification at:\n# http://teem.sourceforge.net/nrrd/format.html\n"
    "type: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 3 2\n"
    "space directions: (0.71650236684420454,0.22164015499600465,0) "
    "(-0.43444421643827336,1.4044400453762989,-0.29800399619259182) "
    "(0.18787456542024486,-0.60734739513179981,-3.1362130490919733)\n"
    "kinds: domain domain domain\nendian: little\n";
const std::string kRestOfSimpleitk = "space origin: (-12.5,30.25,101)\n";
/// The same image by SimpleITK as .nii.gz, read by nibabel.
constexpr double affine_by_nibabel[3][4] = {{-0.71650230884552, 0.4344441890716553, -0.18787455558776855, 12.5},
                                            {-0.22164013981819153, -1.4044400453567505, 0.6073474287986755, -30.25},
                                            {-5.22617948917059e-10, -0.29800400137901306, -3.1362130641937256, 101.0}};

std::string counted_shorts() {
    std::string bytes;
    for (int v = 0; v < 24; ++v) {
        const int value = v * 7 - 50;
        bytes.push_back(static_cast<char>(value & 0xff));
        bytes.push_back(static_cast<char>(value >> 8 & 0xff));
    }
    return bytes;
}

void expect_of_simpleitk(const Volume<float>& image) {
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t column = 0; column < 4; ++column)
            // NIfTI's float32 keeps 7 digits of numbers up to 4.
            EXPECT_NEAR(image.geometry.affine[row][column], affine_by_nibabel[row][column], 5e-7);
    EXPECT_EQ(image.voxels[(1 * 3 + 2) * 2 + 1], 97);  // as nibabel shows voxel (1, 2, 1)
}

TEST_F(NrrdFiles, AScanLiesWhereTheSameScanAsNiftiLies) {
    expect_of_simpleitk(read_image(
        save("scan.nrrd", kNrrdOfSimpleitk + "encoding: raw\n" + kRestOfSimpleitk + "\n" + counted_shorts())));
    expect_of_simpleitk(read_image(save(
        "gz.nrrd", kNrrdOfSimpleitk + "encoding: gzip\n" + kRestOfSimpleitk + "\n" + packed(counted_shorts(), true))));
    // Detached, as SimpleITK writes it: no empty line.
    save("scan.raw.gz", packed(counted_shorts(), true));
    const path header =
        save("scan.nhdr", kNrrdOfSimpleitk + "encoding: gzip\n" + kRestOfSimpleitk + "data file: scan.raw.gz\n");
    expect_of_simpleitk(read_image(header));
    EXPECT_TRUE(is_data_of_header(folder_ / "scan.raw.gz"));
    EXPECT_FALSE(is_data_of_header(header));
}

TEST_F(NrrdFiles, EachSpaceBecomesNiftisRas) {
    const std::string directions = "(2,0,0) (0,3,0) (0,0,4)";
    const auto affine = [&](const std::string& space) {
        return geometry_of({{"space", space}, {"space directions", directions}, {"space origin", "(5,6,7)"}}).affine;
    };
    const Affine ras{{{2, 0, 0, 5}, {0, 3, 0, 6}, {0, 0, 4, 7}}}, las{{{-2, 0, 0, -5}, {0, 3, 0, 6}, {0, 0, 4, 7}}},
        lps{{{-2, 0, 0, -5}, {0, -3, 0, -6}, {0, 0, 4, 7}}};
    EXPECT_EQ(affine("right-anterior-superior"), ras);
    EXPECT_EQ(affine("RAS"), ras);
    EXPECT_EQ(affine("left-anterior-superior"), las);
    EXPECT_EQ(affine("LAS"), las);
    EXPECT_EQ(affine("Left-Posterior-Superior"), lps);
    EXPECT_EQ(affine("lps"), lps);
    // Without a space as ITK has it.
    EXPECT_EQ(geometry_of({{"spacings", "2 3 4"}}).affine, (Affine{{{-2, 0, 0, 0}, {0, -3, 0, 0}, {0, 0, 4, 0}}}));
    EXPECT_EQ(geometry_of({}).affine, (Affine{{{-1, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, 1, 0}}}));
}

TEST_F(NrrdFiles, FieldsMayBeSpelledAsTheFormatAllows) {
    const NrrdHeader plain;
    expect_counted(read_nrrd_image(save("plain.nrrd", plain.text() + counted(24))));
    expect_counted(read_nrrd_image(save("crlf.nrrd", plain.text("\r\n") + counted(24))));
    const NrrdHeader spelled{{"type", "-"},
                             {"Type", "unsigned char"},
                             {"# a", "comment"},
                             {"content", "x\nkey:=3: no field\nother: key:=4"},
                             {"spaceorigin", "( 1, -2.5e0 , 3 )"},
                             {"space", "RAS"},
                             {"space directions", " (1,0,0)  ( 0 , 1 , 0 )(0,0,1) "},
                             {"space units", "\"mm\" \"mm\" \"mm\""},
                             {"centerings", "cell cell cell"},
                             {"thicknesses", "nan nan nan"},
                             {"measurement frame", "(1,0,0) (0,1,0) (0,0,1)"}};
    expect_counted(read_nrrd_image(save("spelled.nrrd", spelled.text() + counted(24))));
    EXPECT_EQ(geometry_of(spelled).affine[1][3], -2.5);
}

TEST_F(NrrdFiles, OneAxisOfOneMayBeThereThatIsNoneOfSpace) {
    const std::string x = "(1,0,0)", y = "(0,1,0)", z = "(0,0,1)";
    const std::pair<const char*, std::string> places[] = {{"1 4 3 2", "none " + x + " " + y + " " + z},
                                                          {"4 1 3 2", x + " none " + y + z},
                                                          {"4 3 2 1", x + y + z + " none"}};
    for (const auto& [sizes, directions] : places)
        expect_counted(read_nrrd_image(save("list.nrrd", NrrdHeader{{"dimension", "4"},
                                                                    {"sizes", sizes},
                                                                    {"space", "RAS"},
                                                                    {"space directions", directions},
                                                                    {"kinds", "???  ??? ??? ???"}}
                                                                 .text() +
                                                             counted(24))));
    const NrrdHeader by_kinds{{"dimension", "4"},
                              {"sizes", "1 4 3 2"},
                              {"kinds", "vector domain domain space"},
                              {"spacings", "nan 2 3 4"},
                              {"units", "\"\" \"mm\" \"mm\" \"mm\""}};
    expect_counted(read_nrrd_image(save("kinds.nrrd", by_kinds.text() + counted(24))));
    EXPECT_EQ(geometry_of(by_kinds).spacing(), (std::array<double, 3>{2, 3, 4}));
}

TEST_F(NrrdFiles, EachTypeIsReadInEitherByteOrder) {
    const auto expect_read = [&](const std::string& type, auto first) {
        using T = decltype(first);
        for (const bool big : {false, true}) {
            std::string bytes;
            for (int v = 0; v < 24; ++v) {
                const T value = static_cast<T>(first + static_cast<T>(v));
                std::string one(reinterpret_cast<const char*>(&value), sizeof(T));
                if (big != (std::endian::native == std::endian::big)) one.assign(one.rbegin(), one.rend());
                bytes += one;
            }
            for (const bool gzip : {false, true}) {
                const NrrdHeader header{
                    {"type", type}, {"endian", big ? "big" : "little"}, {"encoding", gzip ? "gz" : "raw"}};
                const path file = save("typed.nrrd", header.text() + (gzip ? packed(bytes, true) : bytes));
                const Volume<float> volume = read_nrrd_image(file);
                EXPECT_EQ(volume.voxels[(2 * 3 + 1) * 2 + 1], static_cast<float>(first + T{2 + 4 * (1 + 3)})) << type;
                EXPECT_EQ(read_nrrd_labels(file).voxels[0], static_cast<std::int32_t>(first)) << type;
                EXPECT_EQ(nrrd_reading_bytes(file), 24 * 4 + 24 * static_cast<std::int64_t>(sizeof(T)));
            }
        }
    };
    expect_read("int8", std::int8_t{-100});
    expect_read("uchar", std::uint8_t{200});
    expect_read("signed short int", std::int16_t{-30000});
    expect_read("uint16_t", std::uint16_t{60000});
    expect_read("int", std::int32_t{-2000000000});
    expect_read("unsigned int", std::uint32_t{2000000000});
    expect_read("long long", std::int64_t{-2000000000});
    expect_read("uint64", std::uint64_t{2000000000});
    expect_read("float", -1000.0f);
    expect_read("double", 1e6);
    const path half = save("half.nrrd", NrrdHeader{{"type", "float"}, {"sizes", "1 1 1"}, {"endian", "little"}}.text() +
                                            std::string("\0\0\0\x3f", 4));
    EXPECT_THROW(read_nrrd_labels(half), InputError);
    const std::string nan("\0\0\xc0\x7f", 4);
    const path none =
        save("nan.nrrd", NrrdHeader{{"type", "float"}, {"sizes", "1 1 1"}, {"endian", "little"}}.text() + nan);
    EXPECT_TRUE(std::isnan(read_nrrd_image(none).voxels[0]));
    EXPECT_THROW(read_nrrd_labels(none), InputError);
}

TEST_F(NrrdFiles, LinesAndBytesBeforeTheVoxelsAreSkipped) {
    save("skip.raw", "one\ntwo\nxyz" + counted(24));
    const auto detached = [&](const std::string& lines, const std::string& bytes) {
        return save("skip.nhdr",
                    NrrdHeader{{"line skip", lines}, {"byteskip", bytes}, {"data file", "skip.raw"}}.text());
    };
    expect_counted(read_nrrd_image(detached("2", "3")));
    expect_counted(read_nrrd_image(detached("0", "11")));
    expect_counted(read_nrrd_image(detached("0", "-1")));
    EXPECT_NE(nrrd_refusal(detached("2", "2")).find("too long"), std::string::npos);
    EXPECT_NE(nrrd_refusal(detached("2", "4")).find("too early"), std::string::npos);
    EXPECT_NE(nrrd_refusal(detached("9000000000000000000", "0")).find("line skip"), std::string::npos);
    EXPECT_NE(nrrd_refusal(detached("0", "9000000000000000000")).find("too early"), std::string::npos);
    save("skip.raw", "one\n" + packed(counted(24), true));
    expect_counted(read_nrrd_image(
        save("skip.nhdr", NrrdHeader{{"encoding", "gzip"}, {"line skip", "1"}, {"data file", "skip.raw"}}.text())));
    expect_counted(read_nrrd_image(save("here.nrrd", NrrdHeader{{"byte skip", "2"}}.text() + "ab" + counted(24))));
}

TEST_F(NrrdFiles, WhatIsWrittenReadsBackInItsPlaceToTheBit) {
    const path file =
        save("scan.nrrd", kNrrdOfSimpleitk + "encoding: raw\n" + kRestOfSimpleitk + "\n" + counted_shorts());
    Volume<float> image = read_image(file);
    for (float& voxel : image.voxels) voxel = std::normal_distribution<float>(0, 1000)(random_);
    write_volume(folder_ / "again.nrrd", image);
    const Volume<float> again = read_image(folder_ / "again.nrrd");
    EXPECT_EQ(again.voxels, image.voxels);
    EXPECT_EQ(again.geometry.affine, image.geometry.affine);
    Volume<std::int32_t> labels{image.geometry, std::vector<std::int32_t>(24)};
    for (std::int32_t& label : labels.voxels) label = static_cast<std::int32_t>(random_());
    write_volume(folder_ / "labels.nrrd", labels);
    EXPECT_EQ(read_labels(folder_ / "labels.nrrd").voxels, labels.voxels);
    write_volume(folder_ / "mask.nrrd", Volume<std::uint8_t>{image.geometry, std::vector<std::uint8_t>(24, 200)});
    write_volume(folder_ / "whole.nrrd", Volume<std::int16_t>{image.geometry, std::vector<std::int16_t>(24, -300)});
    EXPECT_EQ(read_image(folder_ / "mask.nrrd").voxels, std::vector<float>(24, 200));
    EXPECT_EQ(read_image(folder_ / "whole.nrrd").voxels, std::vector<float>(24, -300));
    EXPECT_THROW(write_volume(folder_ / "mask.nhdr", image), InputError);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "mask.nhdr"));
}

struct MalformedNrrd {
    const char* says;  ///< a part of the sentence
    NrrdHeader header;
    std::string bytes = counted(24);
};

TEST_F(NrrdFiles, MalformedHeadersAreRefusedInOneSentence) {
    const std::string directions = "(1,0,0) (0,1,0) (0,0,1)";
    const MalformedNrrd table[] = {
        {"has no type", {{"type", "-"}}},
        {"has no dimension", {{"dimension", "-"}}},
        {"has no sizes", {{"sizes", "-"}}},
        {"has no encoding", {{"encoding", "-"}}},
        {"has no endian", {{"type", "short"}}},
        {"its type", {{"type", "char"}}},
        {"its type", {{"type", "block"}}},
        {"its type", {{"type", ""}}},
        {"its encoding", {{"encoding", "bzip2"}}},
        {"its encoding", {{"encoding", "ascii"}}},
        {"its encoding", {{"encoding", "hex"}}},
        {"its endian", {{"endian", "middle"}}},
        {"its dimension", {{"dimension", "2"}}},
        {"its dimension", {{"dimension", "5"}}},
        {"its dimension", {{"dimension", "three"}}},
        {"its dimension", {{"dimension", "99999999999999999999"}}},
        {"its sizes", {{"sizes", "4 3"}}},
        {"its sizes", {{"sizes", "4 3 2 1"}}},
        {"its sizes", {{"sizes", "4 0 2"}}},
        {"its sizes", {{"sizes", "4 -3 2"}}},
        {"its sizes", {{"sizes", "4 3.5 2"}}},
        {"its sizes", {{"sizes", "4294967296 4294967296 4294967296"}}},
        {"its sizes", {{"sizes", "9223372036854775807 9223372036854775807 2"}}},
        {"its sizes", {{"sizes", "18446744073709551617 3 2"}}},
        {"too early", {{"sizes", "2097152 2097152 2"}}},
        {"4 of 4 axes", {{"dimension", "4"}, {"sizes", "4 3 2 1"}}},
        {"its sizes", {{"dimension", "4"}, {"sizes", "3 4 3 2"}, {"kinds", "list domain domain domain"}}},
        {"2 of 3 axes", {{"kinds", "list domain domain"}}},
        {"its kinds", {{"kinds", "domain domain"}}},
        {"its kinds", {{"space", "RAS"}, {"space directions", directions}, {"kinds", "RGB-color domain domain"}}},
        {"its space is 'scanner-xyz'", {{"space", "scanner-xyz"}, {"space directions", directions}}},
        {"its space is", {{"space", "left-posterior-superior-time"}, {"space directions", directions}}},
        {"its space is", {{"space", "3D-right-handed"}, {"space directions", directions}}},
        {"its space dimension", {{"space dimension", "3"}, {"space directions", directions}}},
        {"no space directions", {{"space", "RAS"}}},
        {"has no space", {{"space directions", directions}}},
        {"has no space", {{"space origin", "(1,2,3)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "(1,0,0) (0,1,0)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", directions + " (1,1,1)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "(1,0) (0,1) (1,1)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "(1,0,0,0) (0,1,0,0) (0,0,1,0)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "(1,0,0) (0,nan,0) (0,0,1)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "(1,0,0) (0,1e999,0) (0,0,1)"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "(1,0,0) (0,1,0) (0,0,1"}}},
        {"its space directions", {{"space", "RAS"}, {"space directions", "1 0 0 0 1 0 0 0 1"}}},
        {"2 of 3 axes", {{"space", "RAS"}, {"space directions", "(1,0,0) (0,1,0) none"}}},
        {"span no volume", {{"space", "RAS"}, {"space directions", "(1,0,0) (2,0,0) (0,0,1)"}}},
        {"span no volume", {{"space", "RAS"}, {"space directions", "(1,0,0) (0,0,0) (0,0,1)"}}},
        {"span no volume", {{"space", "RAS"}, {"space directions", "(1e308,0,0) (0,1e308,0) (0,0,1e308)"}}},
        {"its space origin", {{"space", "RAS"}, {"space directions", directions}, {"space origin", "(1,2,inf)"}}},
        {"its space origin", {{"space", "RAS"}, {"space directions", directions}, {"space origin", "1 2 3"}}},
        {"its space origin", {{"space", "RAS"}, {"space directions", directions}, {"space origin", "(1,2,3) (4,5,6)"}}},
        {"of which one", {{"space", "RAS"}, {"space directions", directions}, {"spacings", "1 1 1"}}},
        {"its spacings", {{"spacings", "1 0 1"}}},
        {"its spacings", {{"spacings", "1 -1 1"}}},
        {"its spacings", {{"spacings", "1 nan 1"}}},
        {"its spacings", {{"spacings", "1 1"}}},
        {"its units", {{"units", "\"mm\" \"cm\" \"mm\""}}},
        {"its units", {{"units", "mm mm mm"}}},
        {"its units", {{"units", "\"mm"}}},
        {"its space units", {{"space units", "\"um\" \"um\" \"um\""}}},
        {"its axis mins", {{"axis mins", "0 0 0"}}},
        {"its old min", {{"old min", "0"}}},
        {"its line skip", {{"line skip", "-1"}}},
        {"its byte skip", {{"byte skip", "-2"}}},
        {"its byte skip", {{"encoding", "gzip"}, {"byte skip", "-1"}}},
        {"its data file", {{"data file", ""}}},
        {"its data file", {{"data file", "LIST"}}},
        {"its data file", {{"data file", "slice%03d.raw 1 2 1"}}},
        {"no such file", {{"data file", "absent.raw"}}},
        {"not a regular file", {{"data file", "."}}},
        {"not a regular file", {{"data file", "/dev/zero"}}},
        {"not a regular file", {{"data file", "pipe"}}},
        {"does not know", {{"colour", "red"}}},
        {"type twice", {{"content", "x\ntype: uint8"}}},
        {"data file twice", {{"data file", "x\ndatafile: x"}}},
        {"is not 'field: value'", {{"content", "x\nno separator"}}},
        {"not text", {{"content", std::string("\0\1\2", 3)}}},
        {"too early", {}, ""},
        {"too early", {}, counted(23)},
        {"too long", {}, counted(25)},
    };
    mkfifo((folder_ / "pipe").c_str(), 0600);
    for (const MalformedNrrd& malformed : table) {
        SCOPED_TRACE(malformed.says);
        const std::string said = nrrd_refusal(save("bad.nrrd", malformed.header.text() + malformed.bytes));
        EXPECT_NE(said.find(malformed.says), std::string::npos) << said;
    }
    for (const std::string magic : {"", "NRRD", "NRRD0006", "NRRD00.01", "nrrd0004", "NIFTI"})
        EXPECT_NE(nrrd_refusal(save("magic.nrrd", magic + NrrdHeader{}.text().substr(8))).find("NRRD0001"),
                  std::string::npos)
            << magic;
}

TEST_F(NrrdFiles, DamagedCompressionIsRefusedInOneSentence) {
    std::string noise(24, '\0');
    for (char& byte : noise) byte = static_cast<char>(random_());
    const std::string good = packed(noise, true);
    std::string checksum = good;
    checksum[good.size() - 5] ^= 1;
    const std::pair<const char*, std::string> table[] = {
        {"damaged", checksum},
        {"damaged", noise},
        {"no end", good.substr(0, good.size() - 1)},
        {"too early", good.substr(0, good.size() / 2)},
        {"too early", packed(noise.substr(1), true)},
        {"too early", ""},
        {"too long", packed(noise + "x", true)},
        {"too long", packed(noise + std::string(std::size_t{1} << 26, '\0'), true)},
        {"too long", good + "x"},
    };
    for (const auto& [says, bytes] : table) {
        const std::string said = nrrd_refusal(save("gz.nrrd", NrrdHeader{{"encoding", "gzip"}}.text() + bytes));
        EXPECT_NE(said.find(says), std::string::npos) << says << ": " << said;
    }
    // 8e15 voxels that so few bytes cannot hold; memory for them is not asked for.
    const NrrdHeader bomb{{"encoding", "gzip"}, {"sizes", "200000 200000 200000"}};
    EXPECT_NE(nrrd_refusal(save("bomb.nrrd", bomb.text() + packed(std::string(1 << 20, '\0'), true)))
                  .find("can hold at most"),
              std::string::npos);
}

TEST_F(NrrdFiles, FilesThatAreNoneAreRefusedInOneSentence) {
    EXPECT_NE(nrrd_refusal(folder_ / "absent.nrrd").find("no such file"), std::string::npos);
    EXPECT_NE(nrrd_refusal(save("lines.nrrd", "NRRD0004\n" + std::string(3 << 20, '#'))), "");
    mkfifo((folder_ / "pipe.nrrd").c_str(), 0600);
    EXPECT_NE(nrrd_refusal(folder_ / "pipe.nrrd").find("not a regular file"), std::string::npos);
    // Every prefix of a good file is refused, whatever it lacks.
    const std::string good = kNrrdOfSimpleitk + "encoding: raw\n" + kRestOfSimpleitk + "\n" + counted_shorts();
    for (std::size_t length = 0; length < good.size(); ++length)
        EXPECT_NE(nrrd_refusal(save("prefix.nrrd", good.substr(0, length))), "") << length;
}

}  // namespace
}  // namespace iwseg
