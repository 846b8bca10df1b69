#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "data/json_file.h"
#include "nnunet/json_keys.h"
#include "nnunet/plans.h"

namespace iwseg::nnunet {
namespace {

using Json = Keys::Json;

constexpr const char* kIgnore = "ignore";
constexpr int kMostLabel = 65535;

/// The values that a label stands for; a region stands for several.
std::vector<int> values_of(const Keys& labels, const std::string& name) {
    if (!labels.at(name).is_array()) return {labels.integer(name, 0, kMostLabel)};
    return labels.integers(name, 0, kMostLabel);
}

Labels read_labels(const Keys& dataset) {
    const Keys labels = dataset.object("labels");
    Labels read;
    std::set<int> values;
    bool regions = false;
    for (const auto& [name, value] : labels.json().items()) regions = regions || (value.is_array() && value.size() > 1);
    for (const auto& [name, value] : labels.json().items()) {
        const std::vector<int> stands_for = values_of(labels, name);
        if (stands_for.empty()) labels.refuse(name, "a label");
        if (name == kIgnore) continue;  // no class of the output
        const bool background = std::all_of(stands_for.begin(), stands_for.end(), [](int v) { return v == 0; });
        if (regions && background) continue;  // what is in no region
        read.names.push_back(name);
        if (!regions && !values.insert(stands_for.front()).second) labels.refuse(name, "a label that no other has");
    }
    if (!regions) {
        // The outputs are in the order of the labels, which nnU-Net has follow on each other.
        read.values.assign(values.begin(), values.end());
        if (read.values.empty() || read.values.front() != 0 ||
            read.values.back() != static_cast<int>(read.values.size()) - 1)
            dataset.refuse("labels", "background, 0, and labels that follow on it without a gap");
        std::vector<std::string> by_value(values.size());
        for (const std::string& name : read.names)
            by_value[static_cast<std::size_t>(values_of(labels, name).front())] = name;
        read.names = by_value;
        return read;
    }
    if (!dataset.contains("regions_class_order"))
        throw InputError(fmt::format("{} has regions and no regions_class_order", dataset.file()));
    read.region_values = dataset.integers("regions_class_order", 0, kMostLabel);
    if (read.region_values.size() != read.names.size())
        dataset.refuse("regions_class_order", fmt::format("a value for each of the {} regions", read.names.size()));
    return read;
}

std::vector<std::string> read_channels(const Keys& dataset) {
    const char* key = dataset.contains("channel_names") ? "channel_names" : "modality";
    const Keys names = dataset.object(key);
    std::vector<std::string> channels;
    for (std::size_t i = 0; i < names.json().size(); ++i) channels.push_back(names.text(std::to_string(i)));
    if (channels.empty()) dataset.refuse(key, "a name for each channel, by its number");
    return channels;
}

}  // namespace

Dataset read_dataset(const std::filesystem::path& file) {
    const Json json = read_ordered_json(file);
    const Keys keys(json, file.string());
    return {read_channels(keys), keys.contains("file_ending") ? keys.text("file_ending") : ".nii.gz",
            read_labels(keys)};
}

}  // namespace iwseg::nnunet
