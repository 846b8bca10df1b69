#include "data/lesion_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/letters.h"

namespace iwseg {
namespace {

using nlohmann::ordered_json;

std::optional<std::int32_t> whole_number(const ordered_json& value) {
    if (!value.is_number_integer()) return std::nullopt;
    // Above INT64_MAX, which is_number_unsigned tells, get would wrap.
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT32_MAX) return std::nullopt;
    const auto number = value.get<std::int64_t>();
    if (number < INT32_MIN || number > INT32_MAX) return std::nullopt;
    return static_cast<std::int32_t>(number);
}

std::optional<std::int32_t> whole_number(const std::string& text) {
    std::int32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

/// Reads one entry after the other into the names.
class NameReader {
  public:
    NameReader(LabelNames& names, InputError wrong) : names_(names), wrong_(std::move(wrong)) {}

    /// {"lesion": 1}, {"whole": [1, 2]} or {"1": "lesion"}.
    void read(const std::string& key, const ordered_json& value) {
        if (value.is_string()) {
            const std::optional<std::int32_t> number = whole_number(key);
            if (!number) throw wrong_;
            add_class(value.get<std::string>(), {*number});
            return add(value.get<std::string>(), *number);
        }
        if (const std::optional<std::int32_t> number = whole_number(value)) {
            add_class(key, {*number});
            return add(key, *number);
        }
        if (!value.is_array() || value.empty() || lower_case(key) == "ignore") throw wrong_;
        names_.regions.push_back(key);
        std::vector<std::int32_t> values;
        for (const ordered_json& one : value) {
            const std::optional<std::int32_t> number = whole_number(one);
            if (!number) throw wrong_;
            add(key, *number);
            values.push_back(*number);
        }
        add_class(key, std::move(values));
    }

  private:
    void add_class(const std::string& name, std::vector<std::int32_t> values) {
        if (lower_case(name) == "ignore") return;
        std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
        names_.classes.push_back({name, std::move(values)});
    }
    void add(const std::string& name, std::int32_t value) {
        if (lower_case(name) == "ignore") {
            if (names_.ignore && names_.ignore != value) throw wrong_;
            names_.ignore = value;
            return;
        }
        std::string& known = names_.names[value];
        known += (known.empty() ? "" : "/") + name;
    }

    LabelNames& names_;
    InputError wrong_;
};

std::vector<std::int32_t> read_region_values(const ordered_json& description, const LabelNames& names) {
    const ordered_json listed = description.value("regions_class_order", ordered_json());
    if (listed.is_null()) return {};
    std::vector<std::string> regions;
    for (const LabelClass& one : names.classes_without_background()) regions.push_back(one.name);
    std::vector<std::int32_t> values;
    for (const ordered_json& one : listed)
        if (const std::optional<std::int32_t> number = whole_number(one)) values.push_back(*number);
    if (!listed.is_array() || values.size() != listed.size() || values.size() != regions.size())
        throw InputError(
            fmt::format("{}: regions_class_order = {} is not usable: expected a whole number for each of the {} "
                        "regions ({})",
                        names.file.string(), listed.dump(), regions.size(), fmt::join(regions, ", ")));
    return values;
}

}  // namespace

std::vector<LabelClass> LabelNames::classes_without_background() const {
    std::vector<LabelClass> left;
    for (const LabelClass& one : classes)
        if (lower_case(one.name) != "background" && one.values != std::vector<std::int32_t>{0}) left.push_back(one);
    return left;
}

LabelNames read_label_names(const ordered_json& description, const std::filesystem::path& file) {
    LabelNames names;
    names.file = file;
    if (!description.contains("labels")) return names;
    const ordered_json& labels = description["labels"];
    const InputError wrong(
        fmt::format("{} must name its labels by whole numbers, as in \"labels\": "
                    "{{\"background\": 0, \"lesion\": 1, \"ignore\": 2}}",
                    file.string()));
    if (!labels.is_array() && !labels.is_object()) throw wrong;
    NameReader reader(names, wrong);
    if (labels.is_array())
        for (std::size_t value = 0; value < labels.size(); ++value) reader.read(std::to_string(value), labels[value]);
    else
        for (const auto& [key, value] : labels.items()) reader.read(key, value);
    if (names.ignore && names.names.contains(*names.ignore))
        throw InputError(fmt::format("{} gives the value {} both to {} and to ignore", file.string(), *names.ignore,
                                     names.names[*names.ignore]));
    if (!names.regions.empty()) names.region_values = read_region_values(description, names);
    return names;
}

LesionLabels::LesionLabels(const LabelNames& names, const std::vector<int>& configured)
    : names_(names), lesion_(configured.begin(), configured.end()), configured_(!configured.empty()) {
    for (const std::int32_t value : lesion_)
        if (value == names_.ignore)
            throw InputError(fmt::format("labels = [{}] counts {} as lesion, which {} calls ignore",
                                         fmt::join(configured, ", "), value, names_.file.string()));
    if (!configured_)
        for (const auto& [value, name] : names_.names)
            if (value != 0 && lower_case(name) != "background") lesion_.push_back(value);
    if (lesion_.empty() && !names_.names.empty())
        throw InputError(
            fmt::format("{} names no label but background: a lesion's was expected, as in \"labels\": "
                        "{{\"background\": 0, \"lesion\": 1}}",
                        names_.file.string()));
    std::sort(lesion_.begin(), lesion_.end());
}

bool LesionLabels::is_lesion(std::int32_t value) const {
    return lesion_.empty() ? value > 0 && value != names_.ignore
                           : std::binary_search(lesion_.begin(), lesion_.end(), value);
}

bool LesionLabels::is_known(std::int32_t value) const {
    return value == 0 || value == names_.ignore || is_lesion(value) ||
           (names_.names.empty() ? value > 0 : names_.names.contains(value));
}

std::string LesionLabels::called(std::int32_t value) const {
    const auto found = names_.names.find(value);
    return found == names_.names.end() ? std::to_string(value) : fmt::format("{} ({})", value, found->second);
}

LabelMask LesionLabels::mask_of(const Volume<std::int32_t>& labels, const std::filesystem::path& file) const {
    LabelMask mask{std::vector<std::uint8_t>(labels.voxels.size()), {}};
    // Labels come in runs of one value: each run is looked up once.
    for (std::size_t first = 0, end = 0; first < labels.voxels.size(); first = end) {
        const std::int32_t value = labels.voxels[first];
        while (end < labels.voxels.size() && labels.voxels[end] == value) ++end;
        if (value == 0 && !is_lesion(0)) continue;
        if (!is_known(value)) {
            std::vector<std::string> known;
            for (const auto& [number, name] : names_.names) known.push_back(called(number));
            throw InputError(fmt::format(
                "{} holds {} ({} voxels), which nothing names: {}", file.string(), value,
                std::count(labels.voxels.begin(), labels.voxels.end(), value),
                known.empty() ? "values from 0 were expected"
                              : fmt::format("{} names {}; name it there, or say what is lesion by labels = [...]",
                                            names_.file.string(), fmt::join(known, ", "))));
        }
        if (is_lesion(value)) {
            std::fill(mask.lesion.begin() + static_cast<std::ptrdiff_t>(first),
                      mask.lesion.begin() + static_cast<std::ptrdiff_t>(end), std::uint8_t{1});
        } else if (value == names_.ignore) {
            mask.ignored.resize(labels.voxels.size());
            std::fill(mask.ignored.begin() + static_cast<std::ptrdiff_t>(first),
                      mask.ignored.begin() + static_cast<std::ptrdiff_t>(end), std::uint8_t{1});
        }
    }
    return mask;
}

std::string LesionLabels::sentence() const {
    if (!names_.ignore && lesion_.size() <= 1 && !configured_) return "";
    std::vector<std::string> lesion;
    for (const std::int32_t value : lesion_) lesion.push_back(called(value));
    std::string text =
        lesion.empty() ? "every value above 0 is lesion" : fmt::format("lesion is {}", fmt::join(lesion, ", "));
    if (names_.ignore) text += fmt::format("; {} is ignored", *names_.ignore);
    if (!configured_ && !names_.regions.empty())
        text += fmt::format("; regions ({}) count by their values, all together", fmt::join(names_.regions, ", "));
    if (!configured_ && lesion.size() > 1) text += "; labels = [...] chooses some";
    return text;
}

}  // namespace iwseg
