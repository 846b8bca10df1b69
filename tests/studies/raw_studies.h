#pragma once

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/extent.h"
#include "data/volume/volume.h"

/// Small raw folders in the formats of LUNA16 with LIDC-IDRI and of LiTS, drawn at random, and what was drawn.
namespace iwseg {

/// Voxel (i, j, k) of shape: index as in Volume.
inline std::size_t at(const Extent& shape, std::int64_t i, std::int64_t j, std::int64_t k) {
    return static_cast<std::size_t>((i * shape[1] + j) * shape[2] + k);
}

/// A folder of a test's own, removed with it.
class ScratchFolder {
  public:
    ScratchFolder() : path_(std::filesystem::temp_directory_path() / fmt::format("iwseg_{}_{}", ::getpid(), ++made())) {
        std::filesystem::create_directories(path_);
    }
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

  private:
    static int& made() {
        static int count = 0;
        return count;
    }
    std::filesystem::path path_;
};

// ---- LUNA16

/// A contour that is a rectangle or a diamond (all of the border's points are listed, as LIDC does), or one point, so
/// that what it fills is plain.
struct RawContour {
    double z_mm = 0;
    int x = 0, y = 0, rx = 0, ry = 0;
    bool diamond = false;  ///< then rx is its radius

    bool holds(std::int64_t i, std::int64_t j) const {
        const std::int64_t dx = std::abs(i - x), dy = std::abs(j - y);
        return diamond ? dx + dy <= rx : dx <= rx && dy <= ry;
    }
    /// Once round, ending where it began.
    std::vector<std::array<int, 2>> points() const {
        std::vector<std::array<int, 2>> border;
        if (diamond) {
            for (int t = 0; t < rx; ++t) border.push_back({x + rx - t, y + t});
            for (int t = 0; t < rx; ++t) border.push_back({x - t, y + rx - t});
            for (int t = 0; t < rx; ++t) border.push_back({x - rx + t, y - t});
            for (int t = 0; t < rx; ++t) border.push_back({x + t, y - rx + t});
        } else {
            for (int t = -rx; t < rx; ++t) border.push_back({x + t, y - ry});
            for (int t = -ry; t < ry; ++t) border.push_back({x + rx, y + t});
            for (int t = rx; t > -rx; --t) border.push_back({x + t, y + ry});
            for (int t = ry; t > -ry; --t) border.push_back({x - rx, y + t});
        }
        if (border.empty()) return {{x, y}};
        border.push_back(border.front());
        return border;
    }
};
using RawNodule = std::vector<RawContour>;

struct RawLunaScan {
    std::string uid;
    int subset = 0;
    Extent shape{41, 45, 26};
    std::array<double, 3> origin{-195.5, -181.3, -290.25}, spacing{0.7, 0.65, 1.25};
    bool flipped = false;  ///< runs against x and y
    std::vector<std::int16_t> ct;
    std::vector<std::uint8_t> lungs;                 ///< 0, 3 and 4 (lungs), 5 (trachea)
    std::vector<std::array<double, 3>> annotations;  ///< mm
    std::vector<std::vector<RawNodule>> sessions;    ///< one an expert

    double z_mm(double slice) const { return origin[2] + slice * spacing[2]; }
};

inline std::array<double, 3> world(const RawLunaScan& scan, const std::array<double, 3>& voxel) {
    std::array<double, 3> mm{};
    for (int axis = 0; axis < 3; ++axis)
        mm[axis] = scan.origin[axis] + (scan.flipped && axis < 2 ? -1 : 1) * scan.spacing[axis] * voxel[axis];
    return mm;
}

/// Draws a scan with so many annotated nodules, each seen by some of the four experts, some drawn that are not
/// annotated, some contours outside of the lungs' box and of the experts' agreement.
inline RawLunaScan draw_luna_scan(std::mt19937& random, const std::string& uid, int subset, int nodules, bool flipped) {
    const auto whole = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
    const auto real = [&](double low, double high) { return std::uniform_real_distribution(low, high)(random); };
    RawLunaScan scan;
    scan.uid = uid;
    scan.subset = subset;
    scan.flipped = flipped;
    scan.shape = {whole(38, 43), whole(40, 47), whole(20, 30)};
    scan.origin = {real(-200, 200), real(-200, 200), real(-400, 0)};
    scan.spacing = {real(0.5, 0.9), real(0.5, 0.9), real(0.6, 2.5)};
    const auto [ni, nj, nk] = scan.shape;
    scan.ct.resize(static_cast<std::size_t>(ni * nj * nk));
    scan.lungs.resize(scan.ct.size());
    for (auto& value : scan.ct) value = static_cast<std::int16_t>(whole(-1024, 1500));
    const double radius = real(5, 6.5), height = real(6, 20);  // one lung may touch the scan's faces
    for (std::int64_t i = 0; i < ni; ++i)
        for (std::int64_t j = 0; j < nj; ++j)
            for (std::int64_t k = 0; k < nk; ++k) {
                const double y = (j - nj / 2.0) / radius, z = (k - nk / 2.0) / height;
                const double left = std::hypot((i - 12) / 4.0, y, z), right = std::hypot((i - 26) / 4.5, y, z / 0.5);
                std::uint8_t& label = scan.lungs[at(scan.shape, i, j, k)];
                label = left <= 1 ? 3 : right <= 1 ? 4 : 0;
                if (i >= 18 && i <= 19 && j >= nj / 2 - 9 && j <= nj / 2 - 8 && k > 3 && k < 9) label = 5;
            }
    scan.sessions.resize(4);
    const auto contour_stack = [&](int x, int y, int z) {
        RawNodule nodule;
        const int half = whole(0, 2);
        for (int slice = z - half; slice <= z + half; ++slice) {
            RawContour contour{scan.z_mm(slice), x + whole(-1, 1), y + whole(-1, 1),
                               whole(0, 4),      whole(0, 4),      whole(0, 1) == 1};
            nodule.push_back(contour);
            if (whole(0, 4) == 0) nodule.push_back({contour.z_mm, contour.x + 1, contour.y, 1, 1, false});
        }
        return nodule;
    };
    for (int n = 0; n < nodules; ++n) {
        const int x = whole(8, 30), y = whole(12, 30), z = whole(4, static_cast<int>(nk) - 5);
        scan.annotations.push_back(world(scan, {x + real(-0.9, 0.9), y + real(-0.9, 0.9), z + real(-0.9, 0.9)}));
        for (auto& session : scan.sessions)
            if (whole(0, 3) > 0 || n == 0) session.push_back(contour_stack(x, y, z));
    }
    for (auto& session : scan.sessions)
        if (whole(0, 2) == 0)
            session.push_back(contour_stack(whole(6, 32), whole(6, 34), whole(3, static_cast<int>(nk) - 4)));
    return scan;
}

template <class T>
std::string fastest_first(const std::vector<T>& voxels, const Extent& shape) {
    std::string bytes;
    for (std::int64_t k = 0; k < shape[2]; ++k)
        for (std::int64_t j = 0; j < shape[1]; ++j)
            for (std::int64_t i = 0; i < shape[0]; ++i)
                bytes.append(reinterpret_cast<const char*>(&voxels[at(shape, i, j, k)]), sizeof(T));
    return bytes;
}

inline std::string meta_header(const RawLunaScan& scan, const std::string& type, const std::string& data,
                               bool compressed) {
    const int sign = scan.flipped ? -1 : 1;
    return fmt::format(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = {}\nTransformMatrix = {} 0 0 0 {} 0 0 0 1\nOffset = {} {} {}\n"
        "CenterOfRotation = 0 0 0\nAnatomicalOrientation = RAI\nElementSpacing = {} {} {}\n"
        "DimSize = {} {} {}\nElementType = {}\nElementDataFile = {}\n",
        compressed ? "True" : "False", sign, sign, scan.origin[0], scan.origin[1], scan.origin[2], scan.spacing[0],
        scan.spacing[1], scan.spacing[2], scan.shape[0], scan.shape[1], scan.shape[2], type, data);
}

inline std::string reading_xml(const RawLunaScan& scan) {
    std::string xml = fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LidcReadMessage uid=\"1.3.6\" xmlns=\"http://www.nih.gov\" "
        "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<!-- made for a test -->\n<ResponseHeader>\n"
        "<Version>1.8.1</Version>\n<SeriesInstanceUid>{}</SeriesInstanceUid>\n<!-- no more --></ResponseHeader>\n",
        scan.uid);
    int number = 0;
    for (const auto& session : scan.sessions) {
        xml += "<readingSession>\n<annotationVersion>3.12</annotationVersion>\n<!-- one expert -->\n";
        xml +=
            "<nonNodule><nonNoduleID>7</nonNoduleID><imageZposition>3</imageZposition><locus><xCoord>5</xCoord>"
            "<yCoord>5</yCoord></locus></nonNodule>\n";
        for (const RawNodule& nodule : session) {
            xml += fmt::format(
                "<unblindedReadNodule><noduleID>Nodule {:03}</noduleID>\n<characteristics><subtlety>5"
                "</subtlety></characteristics>\n",
                ++number);
            for (const RawContour& contour : nodule) {
                xml += fmt::format(
                    "<roi>\n<imageZposition>{}</imageZposition><imageSOP_UID>1.2.{}</imageSOP_UID>"
                    "<inclusion>TRUE</inclusion><!-- points -->\n",
                    contour.z_mm, number);
                for (const auto& [x, y] : contour.points())
                    xml += fmt::format("<edgeMap><xCoord>{}</xCoord><yCoord>{}</yCoord></edgeMap>\n", x, y);
                xml += "</roi>\n";
            }
            xml += "</unblindedReadNodule>\n";
        }
        xml += "</readingSession>\n";
    }
    return xml + "</LidcReadMessage>\n";
}

/// nested: subset0/subset0/UID.mhd.
inline void write_luna_scan(const std::filesystem::path& raw, const RawLunaScan& scan, bool nested = false) {
    const std::string subset = fmt::format("subset{}", scan.subset);
    const auto folder = nested ? raw / subset / subset : raw / subset, masks = raw / "seg-lungs-LUNA16",
               readings = raw / "tcia-lidc-xml" / fmt::format("{:03}", 150 + scan.subset);
    for (const auto& made : {folder, masks, readings}) std::filesystem::create_directories(made);
    write_text(folder / (scan.uid + ".mhd"), meta_header(scan, "MET_SHORT", scan.uid + ".raw", false));
    write_text(folder / (scan.uid + ".raw"), fastest_first(scan.ct, scan.shape));
    const std::string plain = fastest_first(scan.lungs, scan.shape);
    std::string packed(compressBound(plain.size()), '\0');
    uLongf size = packed.size();
    compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(plain.data()),
             plain.size());
    packed.resize(size);
    write_text(masks / (scan.uid + ".mhd"), meta_header(scan, "MET_UCHAR", scan.uid + ".zraw", true));
    write_text(masks / (scan.uid + ".zraw"), packed);
    if (!scan.sessions.empty())
        write_text(readings / (scan.uid.substr(scan.uid.size() - 3) + ".xml"), reading_xml(scan));
}

inline void write_luna_annotations(const std::filesystem::path& raw, const std::vector<RawLunaScan>& scans) {
    std::string text = "seriesuid,coordX,coordY,coordZ,diameter_mm\n";
    for (const RawLunaScan& scan : scans)
        for (const auto& centre : scan.annotations)
            text += fmt::format("{},{},{},{},5.25\n", scan.uid, centre[0], centre[1], centre[2]);
    write_text(raw / "annotations.csv", text);
    // The folders also hold chest X-ray readings.
    std::filesystem::create_directories(raw / "tcia-lidc-xml" / "185");
    write_text(
        raw / "tcia-lidc-xml" / "185" / "900.xml",
        "<?xml version=\"1.0\"?><IdriReadMessage xmlns=\"http://www.nih.gov\"><ResponseHeader/></IdriReadMessage>");
}

/// Ten subsets with `each` scans; every third scan without nodules, every fourth flipped.
inline std::vector<RawLunaScan> write_luna(const std::filesystem::path& raw, std::mt19937& random, int each) {
    std::vector<RawLunaScan> scans;
    for (int subset = 0; subset < 10; ++subset)
        for (int n = 0; n < each; ++n) {
            const int number = static_cast<int>(scans.size());
            const std::string uid = fmt::format("1.3.6.1.4.1.14519.{}.{}", 5 + random() % 90000, 100 + number);
            scans.push_back(draw_luna_scan(random, uid, subset, number % 3 == 1 ? 0 : 1 + number % 2, number % 4 == 2));
            write_luna_scan(raw, scans.back(), subset == 3);
        }
    write_luna_annotations(raw, scans);
    return scans;
}

// ---- LiTS

struct RawLitsScan {
    int number = 0;
    Volume<std::int16_t> ct;
    Volume<std::uint8_t> labels;  ///< 1 liver, 2 tumour
};

inline RawLitsScan draw_lits_scan(std::mt19937& random, int number) {
    const auto whole = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
    const auto real = [&](double low, double high) { return std::uniform_real_distribution(low, high)(random); };
    RawLitsScan scan;
    scan.number = number;
    Geometry geometry;
    geometry.shape = {whole(17, 33), whole(17, 33), whole(9, 30)};
    const double turn = real(-0.6, 0.6), along = real(0.5, 0.9), slice = real(0.7, 5);
    geometry.affine = {{{-along * std::cos(turn), along * std::sin(turn), 0, real(-200, 200)},
                        {along * std::sin(turn), along * std::cos(turn), 0, real(-200, 200)},
                        {0, 0, slice, real(-900, 900)}}};
    scan.ct.geometry = scan.labels.geometry = geometry;
    const auto [ni, nj, nk] = geometry.shape;
    const int ci = whole(6, 12), cj = whole(6, 12), ck = whole(3, 6), r = whole(2, 4);
    for (std::int64_t i = 0; i < ni; ++i)
        for (std::int64_t j = 0; j < nj; ++j)
            for (std::int64_t k = 0; k < nk; ++k) {
                scan.ct.voxels.push_back(static_cast<std::int16_t>(whole(-1000, 1000)));
                const bool inside = std::abs(i - ci) <= r && std::abs(j - cj) <= r && std::abs(k - ck) <= 2;
                scan.labels.voxels.push_back(static_cast<std::uint8_t>(inside               ? 1 + (whole(0, 5) == 0)
                                                                       : whole(0, 300) == 0 ? 2
                                                                                            : 0));
            }
    scan.labels.voxels[at(geometry.shape, ci, cj, ck)] = 1;
    return scan;
}

inline void write_lits_scan(const std::filesystem::path& raw, const RawLitsScan& scan, bool compressed) {
    const auto folder = raw / (scan.number <= 27 ? "Training Batch 1" : "Training Batch 2");
    std::filesystem::create_directories(folder);
    const char* ending = compressed ? ".nii.gz" : ".nii";
    write_volume(folder / fmt::format("volume-{}{}", scan.number, ending), scan.ct);
    write_volume(folder / fmt::format("segmentation-{}{}", scan.number, ending), scan.labels);
}

}  // namespace iwseg
