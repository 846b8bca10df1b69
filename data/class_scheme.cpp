#include "data/class_scheme.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/letters.h"
#include "data/lesion_labels.h"

namespace iwseg {
namespace {

/// How many regions hold the value.
std::ptrdiff_t holders(const std::vector<LabelClass>& regions, std::int32_t value) {
    return std::count_if(regions.begin(), regions.end(), [&](const LabelClass& one) { return one.holds(value); });
}

/// Whether the region holds the value, and no later one does, which voxels of that value would be of, too.
bool is_own(const std::vector<LabelClass>& regions, std::size_t nth, std::int32_t value) {
    const auto later = regions.begin() + static_cast<std::ptrdiff_t>(nth) + 1;
    return regions[nth].holds(value) &&
           std::none_of(later, regions.end(), [&](const LabelClass& one) { return one.holds(value); });
}

/// What a region is written as; 0 where all its values are later regions', too.
std::int32_t written_value(const std::vector<LabelClass>& regions, std::size_t nth) {
    std::int32_t found = 0;
    for (const std::int32_t value : regions[nth].values) {
        if (!is_own(regions, nth, value)) continue;
        if (found == 0 || holders(regions, value) < holders(regions, found)) found = value;
    }
    return found;
}

/// Whether both hold a value, and each one that the other does not.
bool shares_in_part(const LabelClass& a, const LabelClass& b) {
    const auto in_b = std::count_if(a.values.begin(), a.values.end(), [&](auto value) { return b.holds(value); });
    return in_b > 0 && in_b < static_cast<std::ptrdiff_t>(std::min(a.values.size(), b.values.size()));
}

}  // namespace

ClassScheme::ClassScheme(const std::string& classes, const std::string& regions, const LabelNames& names)
    : regions_(!regions.empty()) {
    if (!classes.empty() && !regions.empty())
        throw InputError(
            "classes and regions are both given; expected one of them: classes exclude each other, regions "
            "may share label values");
    if (classes.empty() && regions.empty()) return;
    const char* key = regions_ ? "regions" : "classes";
    classes_ = read_label_classes(regions_ ? regions : classes, names, key);
    if (const std::string shared = shared_value(classes_); !regions_ && !shared.empty())
        throw InputError(fmt::format("classes: {}; expected classes that share no value, or the key regions", shared));
    for (std::size_t k = 0; k < classes_.size(); ++k) {
        written_.push_back(regions_ ? written_value(classes_, k) : classes_[k].values.front());
        if (written_.back() == 0)
            throw InputError(
                fmt::format("regions: {} lies within later ones, which leaves nothing of it; expected "
                            "larger regions first",
                            classes_[k].name));
    }
    if (regions_ && are_of_dataset(regions) && !names.region_values.empty()) {
        written_ = names.region_values;
        for (std::size_t k = 0; k < classes_.size(); ++k)
            if (!is_own(classes_, k, written_[k]))
                throw InputError(fmt::format(
                    "{}: regions_class_order = [{}] writes {} as {}, expected a label value of it that no later "
                    "region holds",
                    names.file.string(), fmt::join(written_, ", "), classes_[k].name, written_[k]));
    }
    for (std::size_t k = 0; k < classes_.size() && regions_; ++k)
        for (std::size_t j = 0; j < k; ++j)
            if (shares_in_part(classes_[j], classes_[k]))
                throw InputError(fmt::format(
                    "regions: {} and {} share label values, and neither holds all of the other's: no label would say "
                    "that a voxel is of both; expected regions that lie within each other or apart",
                    classes_[j].name, classes_[k].name));
    if (outputs() > kMostLossChannels || labels() >= kMostClassLabels)
        throw InputError(fmt::format("{} are {} with {} label values in all; expected at most {} with {}", key,
                                     classes_.size(), values().size(), kMostLossChannels - 1, kMostClassLabels - 1));
}

std::vector<int> ClassScheme::values() const {
    std::vector<int> all;
    for (const LabelClass& one : classes_) all.insert(all.end(), one.values.begin(), one.values.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

std::int32_t ClassScheme::labels() const {
    return static_cast<std::int32_t>(regions_ ? values().size() : classes_.size());
}

std::int32_t ClassScheme::label_of(std::int32_t value) const {
    if (regions_) {
        const std::vector<int> all = values();
        const auto found = std::lower_bound(all.begin(), all.end(), value);
        return found != all.end() && *found == value ? static_cast<std::int32_t>(found - all.begin()) + 1 : 0;
    }
    for (std::size_t k = 0; k < classes_.size(); ++k)
        if (classes_[k].holds(value)) return static_cast<std::int32_t>(k) + 1;
    return 0;
}

std::vector<std::uint8_t> ClassScheme::map_of(const Volume<std::int32_t>& file, const std::string& name,
                                              const LabelNames& names) const {
    std::vector<std::uint8_t> map(file.voxels.size());
    // Labels come in runs of one value: each run is looked up once.
    for (std::size_t first = 0, end = 0; first < map.size(); first = end) {
        const std::int32_t value = file.voxels[first];
        while (end < map.size() && file.voxels[end] == value) ++end;
        if (value == 0 || value == names.ignore) continue;
        const std::int32_t label = label_of(value);
        if (label == 0 && !names.names.contains(value))
            throw InputError(fmt::format("{} holds {} ({} voxels), which {} = \"{}\" does not name{}", name, value,
                                         std::count(file.voxels.begin(), file.voxels.end(), value),
                                         regions_ ? "regions" : "classes", label_classes_text(classes_),
                                         names.names.empty() ? "" : " and " + names.file.string() + " neither"));
        std::fill(map.begin() + static_cast<std::ptrdiff_t>(first), map.begin() + static_cast<std::ptrdiff_t>(end),
                  static_cast<std::uint8_t>(label));
    }
    return map;
}

ClassChannels ClassScheme::channels() const {
    ClassChannels made{outputs(), !regions_, {}};
    if (!regions_) made.labels[0] = 1;
    for (std::size_t k = 0; k < classes_.size(); ++k)
        for (const std::int32_t value : classes_[k].values)
            made.labels[channel_of(k)] |= std::uint64_t{1} << label_of(value);
    return made;
}

std::string ClassScheme::sentence(const LabelNames& names) const {
    const std::vector<int> taken = values();
    std::vector<std::string> left;
    for (const auto& [value, name] : names.names)
        if (value != 0 && lower_case(name) != "background" && !std::binary_search(taken.begin(), taken.end(), value))
            left.push_back(fmt::format("{} ({})", value, name));
    const std::string text = label_classes_text(classes_);
    return left.empty()
               ? text
               : fmt::format("{}; {} count{} as background", text, fmt::join(left, ", "), left.size() == 1 ? "s" : "");
}

OutputClasses ClassScheme::output() const {
    OutputClasses made;
    made.regions = regions_;
    if (!regions_) {
        made.names.emplace_back("background");
        made.values.push_back(0);
    }
    for (std::size_t k = 0; k < classes_.size(); ++k) {
        made.names.push_back(classes_[k].name);
        made.values.push_back(written_[k]);
    }
    return made;
}

}  // namespace iwseg
