#include "data/label_classes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/letters.h"
#include "data/lesion_labels.h"

namespace iwseg {
namespace {

std::string without_spaces_around(const std::string& text) {
    const std::size_t first = text.find_first_not_of(' ');
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string> parts_of(const std::string& text, char between) {
    std::vector<std::string> parts;
    for (std::size_t first = 0; first <= text.size();) {
        const std::size_t end = std::min(text.find(between, first), text.size());
        parts.push_back(without_spaces_around(text.substr(first, end - first)));
        first = end + 1;
    }
    return parts;
}

/// Results of a class lie in a folder of its name.
bool is_folder_name(const std::string& name) {
    try {
        (void)nlohmann::json(name).dump();  // what is no UTF-8 no file of results would hold
    } catch (const nlohmann::json::exception&) {
        return false;
    }
    return !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return c >= 0x80 || std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == ' ';
    });
}

LabelClass read_class(const std::string& text, const InputError& wrong) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) throw wrong;
    LabelClass read{without_spaces_around(text.substr(0, equals)), {}};
    for (const std::string& part : parts_of(text.substr(equals + 1), '+')) {
        std::int32_t value = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        if (error != std::errc() || end != part.data() + part.size()) throw wrong;
        read.values.push_back(value);
    }
    std::sort(read.values.begin(), read.values.end());
    read.values.erase(std::unique(read.values.begin(), read.values.end()), read.values.end());
    return read;
}

void require_values(const LabelClass& one, const LabelNames& names, const std::string& origin) {
    for (const std::int32_t value : one.values) {
        if (value <= 0)
            throw InputError(
                fmt::format("{}: the class {} holds {}; expected label values above 0", origin, one.name, value));
        if (value == names.ignore)
            throw InputError(fmt::format("{}: the class {} holds {}, which {} calls ignore", origin, one.name, value,
                                         names.file.string()));
        if (!names.names.empty() && !names.names.contains(value))
            throw InputError(fmt::format("{}: the class {} holds {}, which {} does not name", origin, one.name, value,
                                         names.file.string()));
    }
}

std::vector<LabelClass> classes_of_dataset(const LabelNames& names, const std::string& origin) {
    std::vector<LabelClass> classes = names.classes_without_background();
    if (classes.empty())
        throw InputError(
            fmt::format("{} asks for the classes of the dataset, which names none; expected them as in \"edema=1, "
                        "tumour=2+3\"",
                        origin));
    if (names.region_values.empty())
        std::sort(classes.begin(), classes.end(), [](const LabelClass& a, const LabelClass& b) {
            return a.values.size() != b.values.size() ? a.values.size() > b.values.size() : a.values < b.values;
        });
    return classes;
}

}  // namespace

bool LabelClass::holds(std::int32_t value) const {
    return std::binary_search(values.begin(), values.end(), value);
}

bool are_of_dataset(const std::string& text) {
    return without_spaces_around(text) == "dataset";
}

std::vector<LabelClass> read_label_classes(const std::string& text, const LabelNames& names,
                                           const std::string& origin) {
    std::vector<LabelClass> classes;
    if (are_of_dataset(text)) {
        classes = classes_of_dataset(names, origin);
    } else {
        const InputError wrong(
            fmt::format("{} = \"{}\" names no classes; expected names with label values, as in \"edema=1, tumour=2+3\"",
                        origin, text));
        for (const std::string& part : parts_of(text, ',')) classes.push_back(read_class(part, wrong));
    }
    for (std::size_t i = 0; i < classes.size(); ++i) {
        if (!is_folder_name(classes[i].name))
            throw InputError(
                fmt::format("{}: the class '{}' has no name for a folder; expected letters, digits, _, - "
                            "and .",
                            origin, classes[i].name));
        if (lower_case(classes[i].name) == "background" || classes[i].name.ends_with(".json"))
            throw InputError(
                fmt::format("{}: a class cannot be named {}, which stands for {}", origin, classes[i].name,
                            lower_case(classes[i].name) == "background" ? "what is of no class" : "a file of results"));
        for (std::size_t j = 0; j < i; ++j)
            if (lower_case(classes[i].name) == lower_case(classes[j].name))
                throw InputError(fmt::format("{}: two classes have the name {}", origin, classes[i].name));
        require_values(classes[i], names, origin);
    }
    return classes;
}

std::string label_classes_text(const std::vector<LabelClass>& classes) {
    std::vector<std::string> parts;
    for (const LabelClass& one : classes) parts.push_back(fmt::format("{}={}", one.name, fmt::join(one.values, "+")));
    return fmt::format("{}", fmt::join(parts, ", "));
}

std::string shared_value(const std::vector<LabelClass>& classes) {
    for (std::size_t i = 0; i < classes.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            for (const std::int32_t value : classes[i].values)
                if (classes[j].holds(value))
                    return fmt::format("{} and {} both hold {}", classes[j].name, classes[i].name, value);
    return "";
}

}  // namespace iwseg
