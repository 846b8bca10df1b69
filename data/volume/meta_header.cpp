#include "data/volume/meta_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/letters.h"
#include "data/volume/header_text.h"

// The keys and their defaults are those of MetaIO's documentation (https://itk.org/Wiki/MetaIO/Documentation); where it
// is silent, what ITK 5 does with a file was tried.

namespace iwseg {
namespace {

using std::filesystem::path;

constexpr double kMostVoxels = 0x1p53;

struct ElementName {
    std::string_view name;
    VoxelType element;
};
// MET_LONG has four bytes, whatever the machine.
constexpr ElementName kElementNames[] = {
    {"MET_CHAR", VoxelType::i8},        {"MET_UCHAR", VoxelType::u8},  {"MET_SHORT", VoxelType::i16},
    {"MET_USHORT", VoxelType::u16},     {"MET_INT", VoxelType::i32},   {"MET_UINT", VoxelType::u32},
    {"MET_LONG", VoxelType::i32},       {"MET_ULONG", VoxelType::u32}, {"MET_LONG_LONG", VoxelType::i64},
    {"MET_ULONG_LONG", VoxelType::u64}, {"MET_FLOAT", VoxelType::f32}, {"MET_DOUBLE", VoxelType::f64}};

class MetaHeaderParser {
  public:
    MetaHeaderParser(const path& file, std::string_view text) : file_(file), text_(text) {}

    MetaDescription parse() {
        read_lines();
        read_shape();
        read_element();
        read_placement();
        require_plain_values();
        result_.compressed = truth("CompressedData").value_or(false);
        result_.compressed_bytes = whole("CompressedDataSize", 0).value_or(0);
        result_.skipped_bytes = whole("HeaderSize", -1).value_or(0);
        read_data_files();
        return std::move(result_);
    }

  private:
    [[noreturn]] void refuse(const std::string& what) const {
        throw InputError(fmt::format("{} is not a usable MetaImage file: {}", file_.string(), what));
    }
    [[noreturn]] void refuse(std::string_view key, const std::string& expected) const {
        refuse(fmt::format("its {} is '{}', expected {}", key, shown(values_.at(key)), expected));
    }

    /// The next line without its end; what is left of the text starts after it.
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

    void read_lines() {
        while (at_ < text_.size()) {
            const std::string_view line = next_line();
            if (line.empty()) continue;
            const std::size_t separator = line.find_first_of("=:");
            if (separator == std::string_view::npos)
                refuse(fmt::format("line {} of its header is not 'key = value'", line_));
            const std::string_view key = trimmed(line.substr(0, separator));
            if (!values_.emplace(key, trimmed(line.substr(separator + 1))).second && key != "Comment")
                refuse(fmt::format("its header has the key {} twice", shown(key)));
            if (key == "ElementDataFile") return;
        }
        refuse("its header has no ElementDataFile");
    }

    bool has(std::string_view key) const { return values_.count(key) > 0; }

    void require(std::string_view key) const {
        if (!has(key)) refuse(fmt::format("its header has no {}", key));
    }

    std::optional<bool> truth(std::string_view key) const {
        if (!has(key)) return std::nullopt;
        const std::string_view value = values_.at(key);
        if (value == "True" || value == "true" || value == "1") return true;
        if (value != "False" && value != "false" && value != "0") refuse(key, "True or False");
        return false;
    }

    std::optional<std::int64_t> whole(std::string_view key, std::int64_t least) const {
        if (!has(key)) return std::nullopt;
        std::int64_t number = 0;
        if (!to_number(values_.at(key), number) || number < least)
            refuse(key, fmt::format("a whole number from {}", least));
        return number;
    }

    /// `count` finite numbers; nothing where the header has none of the keys, which are names for one thing.
    std::optional<std::vector<double>> numbers(std::initializer_list<std::string_view> keys, std::size_t count) const {
        std::optional<std::vector<double>> found;
        std::string_view found_key;
        for (const std::string_view key : keys) {
            if (!has(key)) continue;
            std::vector<double> list;
            for (const std::string_view word : words(values_.at(key)))
                if (!to_number(word, list.emplace_back()) || !std::isfinite(list.back()))
                    refuse(key, fmt::format("{} finite numbers", count));
            if (list.size() != count) refuse(key, fmt::format("{} finite numbers", count));
            if (found && *found != list) refuse(fmt::format("its {} and its {} contradict each other", found_key, key));
            found = std::move(list);
            found_key = key;
        }
        return found;
    }

    void read_shape() {
        if (has("ObjectType") && values_.at("ObjectType") != "Image") refuse("ObjectType", "Image");
        require("NDims");
        axes_ = static_cast<std::size_t>(whole("NDims", 1).value());
        if (axes_ < 3 || axes_ > 10) refuse("NDims", "3, since a scan has three axes");
        require("DimSize");
        const auto list = words(values_.at("DimSize"));
        if (list.size() != axes_) refuse("DimSize", fmt::format("{} whole numbers, as NDims says", axes_));
        double voxels = 1;
        for (std::size_t axis = 0; axis < axes_; ++axis) {
            std::int64_t size = 0;
            if (!to_number(list[axis], size) || size < 1)
                refuse("DimSize", fmt::format("{} whole numbers from 1", axes_));
            if (axis < 3)
                result_.header.shape[axis] = size;
            else if (size != 1)
                refuse("DimSize", "three axes; beyond them only axes of 1");
            voxels *= static_cast<double>(size);
        }
        if (voxels > kMostVoxels) refuse("DimSize", fmt::format("at most {:.0f} voxels in all", kMostVoxels));
    }

    void read_element() {
        require("ElementType");
        const std::string_view name = values_.at("ElementType");
        const auto known = std::find_if(std::begin(kElementNames), std::end(kElementNames),
                                        [&](const ElementName& entry) { return entry.name == name; });
        if (known == std::end(kElementNames))
            refuse("ElementType",
                   "MET_CHAR, SHORT, INT, LONG, LONG_LONG, one of them unsigned (MET_UCHAR), MET_FLOAT "
                   "or MET_DOUBLE");
        result_.element = known->element;
        if (whole("ElementNumberOfChannels", 1).value_or(1) != 1)
            refuse("ElementNumberOfChannels", "1, since a scan has one value a voxel");
        if (!truth("BinaryData").value_or(true)) refuse("BinaryData", "True; voxels written as text are not supported");
        const auto order = truth("BinaryDataByteOrderMSB"), same = truth("ElementByteOrderMSB");
        if (order && same && *order != *same)
            refuse("its BinaryDataByteOrderMSB and its ElementByteOrderMSB contradict each other");
        result_.big_endian = order.value_or(same.value_or(false));
    }

    /// Keys that would change what values or places mean, and that ITK passes over.
    void require_plain_values() const {
        if (has("DistanceUnits") && values_.at("DistanceUnits") != "mm" && values_.at("DistanceUnits") != "?")
            refuse("DistanceUnits", "mm");
        for (const auto& [key, plain] : {std::pair<std::string_view, double>("ElementToIntensityFunctionSlope", 1),
                                         {"ElementToIntensityFunctionOffset", 0}})
            if (const auto number = numbers({key}, 1); number && number->front() != plain)
                refuse(key, fmt::format("{}, since voxels are taken as they are stored", plain));
    }

    void read_placement() {
        MetaHeader& header = result_.header;
        if (const auto offset = numbers({"Offset", "Position", "Origin"}, axes_))
            std::copy_n(offset->begin(), 3, header.offset.begin());
        if (const auto matrix = numbers({"TransformMatrix", "Rotation", "Orientation"}, axes_ * axes_))
            for (std::size_t axis = 0; axis < 3; ++axis)
                for (std::size_t row = 0; row < 3; ++row) header.direction[row][axis] = (*matrix)[axis * axes_ + row];
        auto spacing = numbers({"ElementSpacing"}, axes_);
        if (!spacing) spacing = numbers({"ElementSize"}, axes_);
        for (std::size_t axis = 0; spacing && axis < 3; ++axis) {
            header.spacing[axis] = std::abs((*spacing)[axis]);
            if (header.spacing[axis] == 0) refuse("its ElementSpacing is 0 along an axis, expected mm above 0");
            if ((*spacing)[axis] < 0)
                for (auto& row : header.direction) row[axis] = -row[axis];
        }
        require_volume();
    }

    /// Throws where the axes span no volume, or places are beyond what numbers hold.
    void require_volume() const {
        const Geometry geometry = result_.header.geometry();
        for (const auto& row : geometry.affine)
            for (const double entry : row)
                if (!std::isfinite(entry)) refuse("its TransformMatrix and spacing are too large to be mm");
        if (!spans_volume(geometry.affine, geometry.shape))
            refuse("its TransformMatrix is singular, expected three axes that span a volume");
    }

    void read_data_files() {
        const std::string_view value = values_.at("ElementDataFile");
        const auto list = words(value);
        if (list.empty()) refuse("ElementDataFile", "LOCAL, LIST or the name of a file");
        const bool is_list = list[0] == "LIST", is_pattern = value.find('%') != std::string_view::npos;
        if (value == "LOCAL" || value == "Local" || value == "local") {
            result_.local_start = static_cast<std::int64_t>(at_);
            result_.data_files = {file_};
        } else if (is_list || is_pattern) {
            if (result_.compressed) refuse("CompressedData", "False where each slice has a file of its own");
            is_list ? read_list(list) : read_pattern(list);
        } else {
            result_.data_files = {file_.parent_path() / value};
        }
    }

    void read_list(const std::vector<std::string_view>& list) {
        if (list.size() > 2 || (list.size() == 2 && list[1] != "2")) refuse("ElementDataFile", "LIST of single slices");
        std::set<std::string_view> names;
        while (at_ < text_.size()) {
            const std::string_view name = next_line();
            if (name.empty()) continue;
            // A short list must not make a large volume of one small file.
            if (!names.insert(name).second) refuse(fmt::format("its LIST names {} twice", shown(name)));
            result_.data_files.push_back(file_.parent_path() / name);
        }
        if (static_cast<std::int64_t>(names.size()) != result_.header.shape[2])
            refuse(
                fmt::format("its LIST has {} files, expected {}, one a slice", names.size(), result_.header.shape[2]));
    }

    /// "slice%03d.raw 1 100 1": name, first, last and step.
    void read_pattern(const std::vector<std::string_view>& list) {
        const std::string expected = "a name with %d or %03d, then first, last and step";
        const std::int64_t slices = result_.header.shape[2];
        const std::string_view name = list[0];
        const std::size_t begin = name.find('%');
        const std::size_t end = begin == std::string_view::npos ? begin : name.find('d', begin);
        if (end == std::string_view::npos || name.find('%', begin + 1) != std::string_view::npos || list.size() > 4)
            refuse("ElementDataFile", expected);
        const std::string_view form = name.substr(begin + 1, end - begin - 1);
        std::int64_t width = 0, first = 1, last = 0, step = 1;
        if (!form.empty() && (!to_number(form, width) || width < 0 || width > 20)) refuse("ElementDataFile", expected);
        constexpr std::int64_t most = std::int64_t{1} << 31;
        const auto number = [&](std::size_t word, std::int64_t& value) {
            if (word < list.size() && (!to_number(list[word], value) || value < 0 || value > most))
                refuse("ElementDataFile", expected);
        };
        number(1, first);
        last = first + slices - 1;
        number(2, last);
        if (last < first) refuse("ElementDataFile", expected);
        if (list.size() == 3 && slices > 1) step = std::max<std::int64_t>((last - first) / (slices - 1), 1);
        number(3, step);
        if (step < 1 || (last - first) / step + 1 != slices)
            refuse("ElementDataFile", fmt::format("numbers of {} files, one a slice", slices));
        if (slices > kMostFiles) refuse("ElementDataFile", fmt::format("at most {} files", kMostFiles));
        const bool zeros = form.starts_with('0');
        for (std::int64_t value = first; value <= last; value += step) {
            const auto digits = zeros ? fmt::format("{:0{}}", value, width) : fmt::format("{:{}}", value, width);
            result_.data_files.push_back(file_.parent_path() /
                                         fmt::format("{}{}{}", name.substr(0, begin), digits, name.substr(end + 1)));
        }
    }

    static constexpr std::int64_t kMostFiles = 1 << 16;

    const path& file_;
    std::string_view text_;
    std::size_t at_ = 0, axes_ = 3;
    int line_ = 0;
    std::map<std::string_view, std::string_view> values_;
    MetaDescription result_;
};

}  // namespace

std::int64_t MetaDescription::bytes() const {
    return header.shape[0] * header.shape[1] * header.shape[2] * bytes_of(element);
}

Geometry MetaHeader::geometry() const {
    Geometry result;
    result.shape = shape;
    for (std::size_t row = 0; row < 3; ++row) {
        const double sign = row < 2 ? -1 : 1;
        for (std::size_t axis = 0; axis < 3; ++axis)
            result.affine[row][axis] = sign * direction[row][axis] * spacing[axis];
        result.affine[row][3] = sign * offset[row];
    }
    return result;
}

MetaDescription parse_meta_header(const path& file, std::string_view text) {
    return MetaHeaderParser(file, text).parse();
}

}  // namespace iwseg
