#include "data/volume/nrrd.h"

#include <fmt/format.h>
#include <libdeflate.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/letters.h"
#include "data/volume/compression.h"
#include "data/volume/header_text.h"
#include "data/volume/stored_voxels.h"

// Fields, their names and defaults are those of http://teem.sourceforge.net/nrrd/format.html.

namespace iwseg {
namespace {

using std::filesystem::path;
using Vector = std::array<double, 3>;

constexpr std::int64_t kMostNrrdHeader = std::int64_t{1} << 20;  // bytes; segmentations of Slicer have some thousands
constexpr double kMostNrrdVoxels = 0x1p53;
constexpr std::string_view kSpaces = "right-anterior-superior, left-anterior-superior or left-posterior-superior";

struct NrrdDescription {
    Geometry geometry;
    VoxelType type = VoxelType::u8;
    bool big_endian = false, compressed = false;
    std::int64_t skipped_lines = 0, skipped_bytes = 0;  ///< bytes after lines; -1: the voxels are the file's last bytes
    path data_file;
    std::int64_t local_start = 0;  ///< where what follows the header begins; 0: in a data file
};

constexpr std::string_view kFields =
    "axis maxs,axis mins,block size,byte skip,centerings,centers,content,data file,dimension,encoding,endian,kinds,"
    "labels,line skip,max,measurement frame,min,number,old max,old min,sample units,sizes,space,space dimension,"
    "space directions,space origin,space units,spacings,thicknesses,type,units";

std::string without_spaces(std::string_view text) {
    std::string plain = lower_case(std::string(text));
    std::erase(plain, ' ');
    return plain;
}

/// The field as it is said, whose spaces may be left out; empty where the format knows none of that name.
std::string_view field_named(std::string_view name) {
    const std::string plain = without_spaces(name);
    for (std::string_view left = kFields; !left.empty();) {
        const std::string_view field = left.substr(0, left.find(','));
        if (without_spaces(field) == plain) return field;
        left.remove_prefix(std::min(field.size() + 1, left.size()));
    }
    return {};
}

std::optional<VoxelType> type_named(std::string_view text) {
    const std::string name = without_spaces(text);
    const auto is = [&](std::initializer_list<std::string_view> names) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    if (is({"signedchar", "int8", "int8_t"})) return VoxelType::i8;
    if (is({"uchar", "unsignedchar", "uint8", "uint8_t"})) return VoxelType::u8;
    if (is({"short", "shortint", "signedshort", "signedshortint", "int16", "int16_t"})) return VoxelType::i16;
    if (is({"ushort", "unsignedshort", "unsignedshortint", "uint16", "uint16_t"})) return VoxelType::u16;
    if (is({"int", "signedint", "int32", "int32_t"})) return VoxelType::i32;
    if (is({"uint", "unsignedint", "uint32", "uint32_t"})) return VoxelType::u32;
    if (is({"longlong", "longlongint", "signedlonglong", "signedlonglongint", "int64", "int64_t"}))
        return VoxelType::i64;
    if (is({"ulonglong", "unsignedlonglong", "unsignedlonglongint", "uint64", "uint64_t"})) return VoxelType::u64;
    if (is({"float"})) return VoxelType::f32;
    if (is({"double"})) return VoxelType::f64;
    return std::nullopt;
}

class NrrdParser {
  public:
    NrrdParser(const path& file, std::string_view text) : file_(file), text_(text) {}

    NrrdDescription parse() {
        read_fields();
        read_voxels();
        read_axes();
        read_placement();
        return std::move(result_);
    }

  private:
    [[noreturn]] void refuse(const std::string& what) const {
        throw InputError(fmt::format("{} is not a usable NRRD file: {}", file_.string(), what));
    }
    [[noreturn]] void refuse(std::string_view field, const std::string& expected) const {
        refuse(fmt::format("its {} is '{}', expected {}", field, shown(values_.find(field)->second), expected));
    }

    std::string_view next_line() {
        const std::size_t end = std::min(text_.find('\n', at_), text_.size());
        const std::string_view line = text_.substr(at_, end - at_);
        at_ = std::min(end + 1, text_.size());
        ++line_;
        if (std::any_of(line.begin(), line.end(),
                        [](unsigned char c) { return c < ' ' && !blank(static_cast<char>(c)); }))
            refuse(fmt::format("line {} of its header is not text", line_));
        return trimmed(line);
    }

    void read_fields() {
        const std::string_view magic = next_line();
        if (magic.size() != 8 || !magic.starts_with("NRRD000") || magic[7] < '1' || magic[7] > '5')
            refuse("it does not begin with NRRD0001 to NRRD0005");
        bool ended = false;
        while (!ended && at_ < text_.size()) {
            const std::string_view line = next_line();
            ended = line.empty();
            if (!ended && line[0] != '#') read_field(line);
        }
        result_.data_file = file_;
        if (has("data file")) {
            const std::string_view name = values_.find("data file")->second;
            if (name.empty() || words(name)[0] == "LIST" || (name.find('%') != name.npos && words(name).size() > 3))
                refuse("data file", "the name of one file with all voxels");
            result_.data_file = file_.parent_path() / name;
        } else if (ended) {
            result_.local_start = static_cast<std::int64_t>(at_);
        } else {
            refuse("its header has no data file and no empty line at its end, after which its voxels would be");
        }
    }

    void read_field(std::string_view line) {
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) refuse(fmt::format("line {} of its header is not 'field: value'", line_));
        const std::string_view field = field_named(line.substr(0, colon));
        // "key:=value" says something to programs that know the key.
        if (line.substr(colon).starts_with(":=") || (field.empty() && line.find(":=") != line.npos)) return;
        if (field.empty())
            refuse(fmt::format("its header has the field {}, which the format does not know",
                               shown(trimmed(line.substr(0, colon)))));
        if (!values_.emplace(field, trimmed(line.substr(colon + 1))).second)
            refuse(fmt::format("its header has the field {} twice", field));
    }

    bool has(std::string_view field) const { return values_.find(field) != values_.end(); }

    /// In lower case.
    std::string value(std::string_view field) const {
        if (!has(field)) refuse(fmt::format("its header has no {}", field));
        return lower_case(std::string(values_.find(field)->second));
    }

    std::int64_t whole(std::string_view field, std::int64_t least) const {
        std::int64_t number = 0;
        if (!to_number(std::string_view(value(field)), number) || number < least)
            refuse(field, fmt::format("a whole number from {}", least));
        return number;
    }

    void read_voxels() {
        const auto type = type_named(value("type"));
        if (!type) refuse("type", "int8, uint8, to int64, uint64, float or double");
        result_.type = *type;
        const std::string encoding = value("encoding");
        if (encoding != "raw" && encoding != "gzip" && encoding != "gz") refuse("encoding", "raw or gzip");
        result_.compressed = encoding != "raw";
        if (bytes_of(*type) > 1 || has("endian")) {
            const std::string endian = value("endian");
            if (endian != "little" && endian != "big") refuse("endian", "little or big");
            result_.big_endian = endian == "big";
        }
        if (has("line skip")) result_.skipped_lines = whole("line skip", 0);
        if (has("byte skip")) result_.skipped_bytes = whole("byte skip", -1);
        if (result_.compressed && result_.skipped_bytes != 0) refuse("byte skip", "0 where the encoding is gzip");
        for (const std::string_view field : {"old min", "old max"})
            if (has(field)) refuse(field, "none, since voxels are taken as they are stored");
    }

    /// As many words as axes.
    std::vector<std::string_view> words_by_axis(std::string_view field) const {
        std::vector<std::string_view> list = words(values_.find(field)->second);
        if (list.size() != axes_) refuse(field, fmt::format("{} entries, as dimension says", axes_));
        return list;
    }

    /// Which of the axes are those of space, and how many voxels each has.
    void read_axes() {
        axes_ = static_cast<std::size_t>(whole("dimension", 1));
        if (axes_ != 3 && axes_ != 4) refuse("dimension", "3, or 4 with one axis of size 1 that is none of space");
        if (has("space directions")) read_directions();
        std::vector<std::string> kinds(axes_, "domain");
        if (has("kinds")) {
            const auto list = words_by_axis("kinds");
            for (std::size_t axis = 0; axis < axes_; ++axis) kinds[axis] = lower_case(std::string(list[axis]));
        }
        for (std::size_t axis = 0; axis < axes_; ++axis) {
            const bool may = kinds[axis] == "domain" || kinds[axis] == "space" || kinds[axis] == "???";
            if (directions_.empty() ? may : directions_[axis].has_value()) {
                if (!may && kinds[axis] != "none") refuse("kinds", "domain or space for each axis of space");
                spatial_.push_back(axis);
            }
        }
        if (spatial_.size() != 3)
            refuse(fmt::format("its {} say that {} of {} axes are of space, expected 3",
                               !directions_.empty() ? "space directions"
                               : has("kinds")       ? "kinds"
                                                    : "sizes",
                               spatial_.size(), axes_));
        value("sizes");
        const auto list = words_by_axis("sizes");
        double voxels = 1;
        for (std::size_t axis = 0, found = 0; axis < axes_; ++axis) {
            std::int64_t size = 0;
            if (!to_number(list[axis], size) || size < 1)
                refuse("sizes", fmt::format("{} whole numbers from 1", axes_));
            if (std::count(spatial_.begin(), spatial_.end(), axis))
                result_.geometry.shape[found++] = size;
            else if (size != 1)
                refuse("sizes", "1 for the axis that is none of space, since a scan has one value a voxel");
            voxels *= static_cast<double>(size);
        }
        if (voxels > kMostNrrdVoxels) refuse("sizes", fmt::format("at most {:.0f} voxels in all", kMostNrrdVoxels));
    }

    /// Takes "(x,y,z)" off the front of the text.
    Vector next_vector(std::string_view field, std::string_view& text) const {
        const std::string expected = "vectors (x,y,z) of finite numbers, in mm";
        const std::size_t close = text.find(')');
        if (!text.starts_with('(') || close == std::string_view::npos) refuse(field, expected);
        std::string_view inside = text.substr(1, close - 1);
        text = trimmed(text.substr(close + 1));
        Vector vector{};
        for (std::size_t row = 0; row < 3; ++row) {
            const std::size_t comma = row < 2 ? inside.find(',') : inside.size();
            if (comma == std::string_view::npos || !to_number(trimmed(inside.substr(0, comma)), vector[row]) ||
                !std::isfinite(vector[row]))
                refuse(field, expected);
            inside.remove_prefix(std::min(comma + 1, inside.size()));
        }
        return vector;
    }

    void read_directions() {
        std::string_view text = values_.find("space directions")->second;
        while (!text.empty() && directions_.size() <= axes_) {
            const bool none = lower_case(std::string(text.substr(0, 4))) == "none";
            directions_.push_back(none ? std::nullopt : std::optional(next_vector("space directions", text)));
            if (none) text = trimmed(text.substr(4));
        }
        if (directions_.size() != axes_)
            refuse("space directions", fmt::format("{} vectors, as dimension says", axes_));
    }

    /// A unit other than mm, or places that count from elsewhere, would put the scan where it is not.
    void require_plain_places() const {
        for (const std::string_view field : {"units", "space units"}) {
            if (!has(field)) continue;
            std::string_view text = values_.find(field)->second;
            for (std::size_t axis = 0; !text.empty(); ++axis) {
                const std::size_t close = text.find('"', 1);
                if (text[0] != '"' || close == text.npos) refuse(field, "a unit in quotes for each axis");
                const std::string_view unit = text.substr(1, close - 1);
                const bool is_spatial = field != "units" || std::count(spatial_.begin(), spatial_.end(), axis);
                if (is_spatial && unit != "mm" && unit != "millimeter" && unit != "" && unit != "???")
                    refuse(field, "mm");
                text = trimmed(text.substr(close + 1));
            }
        }
        for (const std::string_view field : {"axis mins", "axis maxs"}) {
            if (!has(field)) continue;
            for (const std::string_view word : words_by_axis(field))
                if (double number = 0; !to_number(word, number) || !std::isnan(number))
                    refuse(field, "none, and a space origin in its place");
        }
        if (has("space dimension")) refuse("space dimension", fmt::format("a space by its name, {}", kSpaces));
    }

    void read_placement() {
        require_plain_places();
        Vector signs{-1, -1, 1}, origin{};  // of left-posterior-superior
        if (has("space")) {
            const std::string space = value("space");
            const bool ras = space == "right-anterior-superior" || space == "ras";
            const bool las = space == "left-anterior-superior" || space == "las";
            if (!ras && !las && space != "left-posterior-superior" && space != "lps")
                refuse("space", std::string(kSpaces));
            signs = {ras ? 1.0 : -1.0, ras || las ? 1.0 : -1.0, 1.0};
            if (directions_.empty()) refuse("its header has a space and no space directions");
        } else if (!directions_.empty() || has("space origin")) {
            refuse(fmt::format("its header has no space, which says what its {} count from",
                               directions_.empty() ? "space origin" : "space directions"));
        }
        if (has("space origin")) {
            std::string_view text = values_.find("space origin")->second;
            origin = next_vector("space origin", text);
            if (!text.empty()) refuse("space origin", "one vector (x,y,z)");
        }
        Affine& affine = result_.geometry.affine;
        if (directions_.empty())
            read_spacings();
        else if (has("spacings"))
            refuse("its header has space directions and spacings, of which one is expected");
        for (std::size_t row = 0; row < 3; ++row) {
            for (std::size_t axis = 0; axis < 3; ++axis)
                affine[row][axis] = signs[row] * (*directions_[spatial_[axis]])[row] + 0.0;  // + 0.0: no -0
            affine[row][3] = signs[row] * origin[row] + 0.0;
        }
        if (!spans_volume(affine, result_.geometry.shape))
            refuse("its axes span no volume, expected three directions in mm that do");
    }

    /// As directions along the axes; 1 mm where there are none.
    void read_spacings() {
        directions_.assign(axes_, Vector{});
        for (std::size_t axis = 0; axis < 3; ++axis) {
            double spacing = 1;
            if (has("spacings"))
                if (!to_number(words_by_axis("spacings")[spatial_[axis]], spacing) || !std::isfinite(spacing) ||
                    spacing <= 0)
                    refuse("spacings", "mm above 0");
            (*directions_[spatial_[axis]])[axis] = spacing;
        }
    }

    const path& file_;
    std::string_view text_;
    std::size_t at_ = 0, axes_ = 3;
    int line_ = 0;
    std::map<std::string_view, std::string_view, std::less<>> values_;
    std::vector<std::optional<Vector>> directions_;  ///< of each axis, nothing where it is none of space
    std::vector<std::size_t> spatial_;               ///< the axes of space
    NrrdDescription result_;
};

NrrdDescription read_nrrd_header(const path& file) {
    return NrrdParser(file, start_of_file(file, kMostNrrdHeader)).parse();
}

StoredVoxels find_nrrd_voxels(const path& file) {
    const NrrdDescription header = read_nrrd_header(file);
    VoxelSection section{header.data_file, header.data_file.string(), header.local_start, 0};
    if (header.data_file != file) section.name += fmt::format(" (the data file of {})", file.string());
    const std::int64_t promised = header.geometry.voxels() * bytes_of(header.type);
    const std::int64_t all = size_of_file(header.data_file, section.name);
    std::ifstream stream(header.data_file, std::ios::binary);
    if (!stream) throw InputError(fmt::format("cannot read {}", section.name));
    stream.seekg(section.start);
    for (std::int64_t line = 0; line < header.skipped_lines; ++line) {
        stream.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
        if (!stream || stream.eof())
            throw InputError(fmt::format("{} ends too early: its header says line skip {}, there are {} lines",
                                         section.name, header.skipped_lines, line));
        section.start = static_cast<std::int64_t>(stream.tellg());
    }
    if (header.skipped_bytes < 0)
        section.start = std::max(section.start, all - promised);
    else
        section.start += std::min(header.skipped_bytes, all);
    section.size = std::max<std::int64_t>(all - section.start, 0);
    require_size(section, promised, header.compressed ? 0 : promised, header.compressed);
    return {header.geometry, header.type, header.big_endian, header.compressed, {section}};
}

std::vector<std::byte> gzipped(const std::vector<std::byte>& bytes) {
    const std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor*)> compressor(
        libdeflate_alloc_compressor(kCompression), libdeflate_free_compressor);
    if (!compressor) throw std::bad_alloc();
    std::vector<std::byte> out(libdeflate_gzip_compress_bound(compressor.get(), bytes.size()));
    out.resize(libdeflate_gzip_compress(compressor.get(), bytes.data(), bytes.size(), out.data(), out.size()));
    return out;
}

/// A column of the affine in the space left-posterior-superior; numbers are the shortest that read back the same.
std::string vector_text(const Affine& affine, std::size_t column) {
    return fmt::format("({},{},{})", -affine[0][column] + 0.0, -affine[1][column] + 0.0, affine[2][column] + 0.0);
}

}  // namespace

Geometry read_nrrd_geometry(const path& file) {
    return read_nrrd_header(file).geometry;
}

std::int64_t nrrd_reading_bytes(const path& file) {
    const NrrdDescription header = read_nrrd_header(file);
    return stored_reading_bytes(header.geometry, header.type);
}

Volume<float> read_nrrd_image(const path& file) {
    return read_stored_image(find_nrrd_voxels(file));
}

Volume<std::int32_t> read_nrrd_labels(const path& file) {
    return read_stored_labels(find_nrrd_voxels(file));
}

void write_nrrd(const path& file, const VolumeToWrite& any) {
    if (!file.filename().string().ends_with(".nrrd"))
        throw InputError(file.string() + " cannot be written: NRRD is written as one file, whose name ends in .nrrd");
    constexpr const char* types[] = {"float", "uint8", "int16", "int32"};  // in the order of VolumeToWrite
    AtomicFile out(file);  // first, so that a folder that cannot be written is known before the work
    std::visit(
        [&](const auto* volume) {
            const auto& [shape, affine, nifti] = volume->geometry;
            const std::vector<std::byte> packed = gzipped(in_file_order(*volume));
            out.write(
                fmt::format("NRRD0004\ntype: {}\ndimension: 3\nspace: left-posterior-superior\nsizes: {} {} {}\n"
                            "space directions: {} {} {}\nkinds: domain domain domain\nendian: {}\nencoding: gzip\n"
                            "space origin: {}\n\n",
                            types[any.index()], shape[0], shape[1], shape[2], vector_text(affine, 0),
                            vector_text(affine, 1), vector_text(affine, 2),
                            std::endian::native == std::endian::big ? "big" : "little", vector_text(affine, 3)));
            out.write(packed);
        },
        any);
    out.commit();
}

}  // namespace iwseg
