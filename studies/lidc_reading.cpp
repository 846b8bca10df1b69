#include "studies/lidc_reading.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <pugixml.hpp>
#include <string_view>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/letters.h"

// The elements are those of the LIDC-IDRI annotation files
// (https://wiki.cancerimagingarchive.net/display/Public/LIDC-IDRI); their namespace has had several addresses, so that
// only local names are compared.

namespace iwseg {
namespace {

using std::filesystem::path;

constexpr int kMostCoordinate = 65535;  // DICOM counts rows and columns in 16 bits

[[noreturn]] void refuse(const path& file, const std::string& what) {
    throw InputError(fmt::format("{} is not a usable LIDC reading: {}", file.string(), what));
}

std::string_view local_name(const pugi::xml_node& element) {
    const std::string_view name = element.name();
    return name.substr(name.find(':') + 1);
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

/// The element's text without the white space around it. A comment within it parts it in several nodes.
std::string text_of(const pugi::xml_node& element) {
    std::string text;
    for (const pugi::xml_node& child : element.children())
        if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) text += child.value();
    const auto begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

template <class Use>
void each_child(const pugi::xml_node& element, std::string_view name, Use&& use) {
    for (const pugi::xml_node& child : element.children())
        if (child.type() == pugi::node_element && local_name(child) == name) use(child);
}

/// The first child of that name; null where there is none.
pugi::xml_node first_child(const pugi::xml_node& element, std::string_view name) {
    for (const pugi::xml_node& child : element.children())
        if (child.type() == pugi::node_element && local_name(child) == name) return child;
    return {};
}

/// Parses the file. Returns its root; throws where it is no XML.
pugi::xml_node parse(const path& file, pugi::xml_document& document) {
    std::error_code error;
    if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
        throw InputError(fmt::format("cannot read {}: it is not a regular file", file.string()));
    const std::string text = read_text(file);
    const pugi::xml_parse_result result = document.load_buffer(text.data(), text.size());
    if (!result)
        throw InputError(fmt::format("{} is not XML: {} (byte {})", file.string(), result.description(),
                                     static_cast<std::int64_t>(result.offset)));
    int roots = 0;
    for (const pugi::xml_node& child : document.children()) roots += child.type() == pugi::node_element;
    if (roots != 1) throw InputError(fmt::format("{} is not XML: it has {} root elements", file.string(), roots));
    return document.document_element();
}

std::string series_uid(const pugi::xml_node& root) {
    for (const pugi::xml_node& parent : {first_child(root, "ResponseHeader"), root})
        for (const pugi::xml_node& child : parent.children())
            if (same_ignoring_case(local_name(child), "SeriesInstanceUid")) return text_of(child);
    return "";
}

class LidcReader {
  public:
    explicit LidcReader(const path& file) : file_(file) {}

    LidcReading read() {
        pugi::xml_document document;
        const pugi::xml_node root = parse(file_, document);
        if (local_name(root) != "LidcReadMessage")
            refuse(file_, fmt::format("its root is {}, expected LidcReadMessage", shown(root.name())));
        LidcReading reading;
        reading.series_uid = series_uid(root);
        if (reading.series_uid.empty()) refuse(file_, "it has no SeriesInstanceUid");
        each_child(root, "readingSession", [&](const pugi::xml_node& session) {
            std::vector<Nodule>& nodules = reading.sessions.emplace_back();
            each_child(session, "unblindedReadNodule", [&](const pugi::xml_node& element) {
                Nodule nodule = read_nodule(element);
                if (!nodule.rois.empty()) nodules.push_back(std::move(nodule));
            });
        });
        if (reading.sessions.empty()) refuse(file_, "it has no readingSession");
        return reading;
    }

  private:
    [[noreturn]] void refuse_roi(const std::string& what) const {
        refuse(file_, fmt::format("contour {} of nodule '{}' {}", roi_, nodule_, what));
    }

    Nodule read_nodule(const pugi::xml_node& element) {
        Nodule nodule;
        nodule.id = text_of(first_child(element, "noduleID"));
        nodule_ = shown(nodule.id);
        roi_ = 0;
        each_child(element, "roi", [&](const pugi::xml_node& roi) {
            ++roi_;
            nodule.rois.push_back(read_roi(roi));
        });
        return nodule;
    }

    Roi read_roi(const pugi::xml_node& element) const {
        Roi roi;
        if (!to_number(text_of(only_child(element, "imageZposition")), roi.z_position) ||
            !std::isfinite(roi.z_position))
            refuse_roi("has an imageZposition that is not a number of mm");
        if (const pugi::xml_node inclusion = first_child(element, "inclusion")) {
            const std::string text = text_of(inclusion);
            roi.inclusion = same_ignoring_case(text, "TRUE");
            if (!roi.inclusion && !same_ignoring_case(text, "FALSE"))
                refuse_roi("has an inclusion that is neither TRUE nor FALSE");
        }
        each_child(element, "edgeMap", [&](const pugi::xml_node& point) {
            roi.points.push_back({coordinate(point, "xCoord"), coordinate(point, "yCoord")});
        });
        if (roi.points.empty()) refuse_roi("has no edgeMap, expected one a point");
        return roi;
    }

    pugi::xml_node only_child(const pugi::xml_node& element, std::string_view name) const {
        int count = 0;
        each_child(element, name, [&](const pugi::xml_node&) { ++count; });
        if (count != 1) refuse_roi(fmt::format("has {} {} in its {}, expected 1", count, name, local_name(element)));
        return first_child(element, name);
    }

    int coordinate(const pugi::xml_node& point, std::string_view name) const {
        int value = 0;
        if (!to_number(text_of(only_child(point, name)), value) || value < 0 || value > kMostCoordinate)
            refuse_roi(fmt::format("has a {} that is not a whole number from 0 to {}", name, kMostCoordinate));
        return value;
    }

    template <class Number>
    static bool to_number(std::string_view text, Number& number) {
        if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        return error == std::errc{} && end == text.data() + text.size();
    }

    const path& file_;
    std::string nodule_;  // where the reader is, for its sentences
    int roi_ = 0;
};

}  // namespace

LidcReading read_lidc(const path& file) {
    return LidcReader(file).read();
}

std::optional<std::string> lidc_series_uid(const path& file) {
    pugi::xml_document document;
    const pugi::xml_node root = parse(file, document);
    std::string uid = local_name(root) == "LidcReadMessage" ? series_uid(root) : "";
    return uid.empty() ? std::nullopt : std::optional(std::move(uid));
}

}  // namespace iwseg
