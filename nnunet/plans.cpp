#include "nnunet/plans.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/nearest_name.h"
#include "data/json_file.h"
#include "nnunet/architecture.h"
#include "nnunet/json_keys.h"

namespace iwseg::nnunet {
namespace {

using Json = Keys::Json;

constexpr int kMostPatch = 4096;
constexpr std::int64_t kMostPatchVoxels = std::int64_t{1} << 28;  ///< 645 along each side
constexpr const char* kInherits = "inherits_from";

std::array<int, 3> read_transpose(const Keys& plans, const std::string& key) {
    const std::vector<int> axes = plans.integers(key, 0, 2);
    if (std::set<int>(axes.begin(), axes.end()).size() != 3 || axes.size() != 3)
        plans.refuse(key, "the axes 0, 1 and 2 in some order");
    return {axes[0], axes[1], axes[2]};
}

std::vector<IntensityProperties> read_intensities(const Keys& plans, std::size_t channels) {
    const char* const now = "foreground_intensity_properties_per_channel";
    const char* const before = "foreground_intensity_properties_by_modality";
    const Keys all = plans.object(plans.contains(before) && !plans.contains(now) ? before : now);
    std::vector<IntensityProperties> read;
    for (std::size_t i = 0; i < channels; ++i) {
        const Keys one = all.object(std::to_string(i));
        read.push_back({one.real("mean"), one.real("std"), one.real("percentile_00_5"), one.real("percentile_99_5")});
    }
    return read;
}

Normalisation normalisation_of(const Keys& configuration, const std::string& key, const Json& name) {
    static const std::map<std::string, Normalisation> known{{"CTNormalization", Normalisation::ct},
                                                            {"ZScoreNormalization", Normalisation::zscore},
                                                            {"NoNormalization", Normalisation::none},
                                                            {"RescaleTo01Normalization", Normalisation::rescale_to_0_1},
                                                            {"RGBTo01Normalization", Normalisation::rgb_to_0_1}};
    const auto found = known.find(name.is_string() ? name.get<std::string>() : "");
    if (found == known.end())
        configuration.refuse(key,
                             "CTNormalization, ZScoreNormalization, NoNormalization, RescaleTo01Normalization or "
                             "RGBTo01Normalization");
    return found->second;
}

/// Order 0, 1 or 3 of a spline; of logits, which come plane by plane, 0 or 1.
int read_order(const Keys& arguments, const std::string& key, bool cubic) {
    const int order = arguments.integer(key, 0, 5);
    if (order > 1 && !(cubic && order == 3)) arguments.refuse(key, cubic ? "0, 1 or 3" : "0 or 1");
    return order;
}

Resampling read_resampling(const Keys& configuration, const std::string& of, bool cubic) {
    const std::string function = "resampling_fn_" + of, key = function + "_kwargs";
    if (configuration.text(function) != "resample_data_or_seg_to_shape")
        configuration.refuse(function, "resample_data_or_seg_to_shape: other ways of resampling are not supported");
    const Keys arguments = configuration.object(key);
    for (const auto& [name, value] : arguments.json().items())
        if (name != "is_seg" && name != "order" && name != "order_z" && name != "force_separate_z")
            arguments.refuse(name, "none: this argument is not supported");
    if (arguments.contains("is_seg") && arguments.boolean("is_seg")) arguments.refuse("is_seg", "false");
    // What is not given has the defaults of nnU-Net's function: only a written null leaves it to the spacings.
    Resampling read{arguments.contains("order") ? read_order(arguments, "order", cubic) : 3, 0, false};
    if (!cubic && read.order > 1) configuration.refuse(key, "an order of 0 or 1");
    if (arguments.json().contains("force_separate_z")) read.force_separate_z.reset();
    if (arguments.contains("order_z")) read.order_z = read_order(arguments, "order_z", cubic);
    if (arguments.contains("force_separate_z")) read.force_separate_z = arguments.boolean("force_separate_z");
    return read;
}

/// The configuration's keys, those that it inherits too.
Json with_inherited(const Keys& configurations, const std::string& name) {
    Json merged = configurations.at(name);
    std::set<std::string> seen{name};
    while (merged.is_object() && merged.contains(kInherits)) {
        const std::string parent = Keys(merged, configurations.file(), configurations.way_to(name)).text(kInherits);
        if (!seen.insert(parent).second)
            throw InputError(fmt::format("{}: {} inherits from itself", configurations.file(), name));
        Json from = configurations.at(parent);
        merged.erase(kInherits);
        if (!from.is_object()) break;
        from.update(merged);
        merged = from;
    }
    return merged;
}

/// Refuses what is told by a name of a class and is not as nnU-Net's own.
void require_class(const Keys& keys, const std::string& key, const std::vector<std::string>& known) {
    if (!keys.contains(key)) return;
    if (std::find(known.begin(), known.end(), keys.text(key)) == known.end())
        keys.refuse(key, fmt::format("{}: others are not supported", fmt::join(known, " or ")));
}

/// Plans from before there was the key have no reader that changes a scan's orientation.
std::optional<OrientationRule> read_orientation(const Keys& plans) {
    const char* const key = "image_reader_writer";
    require_class(plans, key, {"SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient"});
    const std::string reader = plans.contains(key) ? plans.text(key) : "";
    if (reader == "SimpleITKIOWithReorient") return OrientationRule::itk;
    if (reader == "NibabelIOWithReorient") return OrientationRule::nibabel;
    return std::nullopt;
}

Configuration read_configuration(const Keys& keys, const std::string& name, std::size_t channels) {
    require_class(keys, "preprocessor_name", {"DefaultPreprocessor"});
    if (keys.contains("previous_stage"))
        throw InputError(fmt::format("{}: {} is a stage of a cascade, which is not supported", keys.file(), name));
    Configuration read;
    read.name = name;
    const std::vector<int> patch = keys.integers("patch_size", 1, kMostPatch);
    if (patch.size() != 3)
        throw InputError(fmt::format("{}: {} is of {} dimensions; three-dimensional networks are supported",
                                     keys.file(), name, patch.size()));
    if (std::int64_t{patch[0]} * patch[1] * patch[2] > kMostPatchVoxels)
        keys.refuse("patch_size", "a patch of at most 2^28 voxels");
    read.patch = {patch[0], patch[1], patch[2]};
    const std::vector<double> spacing = keys.reals("spacing");
    if (spacing.size() != 3 || *std::min_element(spacing.begin(), spacing.end()) < 1e-3 ||
        *std::max_element(spacing.begin(), spacing.end()) > 1e3)
        keys.refuse("spacing", "three numbers of mm from 0.001 to 1000");
    std::copy(spacing.begin(), spacing.end(), read.spacing.begin());
    const Json& schemes = keys.at("normalization_schemes");
    if (!schemes.is_array() || schemes.size() != channels)
        keys.refuse("normalization_schemes", fmt::format("{} of them, as dataset.json has channels", channels));
    for (const Json& scheme : schemes)
        read.normalisations.push_back(normalisation_of(keys, "normalization_schemes", scheme));
    const Json& masks = keys.at("use_mask_for_norm");
    if (!masks.is_array() || masks.size() != channels ||
        !std::all_of(masks.begin(), masks.end(), [](const Json& one) { return one.is_boolean(); }))
        keys.refuse("use_mask_for_norm", fmt::format("true or false for each of {} channels", channels));
    for (const Json& one : masks) read.normalise_nonzero.push_back(one.get<bool>());
    read.of_images = read_resampling(keys, "data", true);
    read.of_logits = read_resampling(keys, "probabilities", false);
    return read;
}

}  // namespace

Plans read_plans(const std::filesystem::path& file, const std::string& configuration, const Dataset& dataset) {
    const Json json = read_ordered_json(file);
    const Keys plans(json, file.string());
    const Keys configurations = plans.object("configurations");
    if (!configurations.contains(configuration)) {
        std::vector<std::string> names;
        for (const auto& [name, value] : configurations.json().items()) names.push_back(name);
        throw InputError(
            fmt::format("{} has no configuration {}; it has {}", file.string(), configuration, fmt::join(names, ", ")));
    }
    require_class(plans, "label_manager", {"LabelManager"});
    const Json merged = with_inherited(configurations, configuration);
    const Keys keys(merged, file.string(), configurations.way_to(configuration));
    Plans read;
    read.to_ras = read_orientation(plans);
    read.transpose_forward = read_transpose(plans, "transpose_forward");
    const std::array<int, 3> transpose_backward = read_transpose(plans, "transpose_backward");
    for (std::size_t a = 0; a < 3; ++a)
        if (transpose_backward[static_cast<std::size_t>(read.transpose_forward[a])] != static_cast<int>(a))
            plans.refuse("transpose_backward", "what undoes transpose_forward");
    read.intensities = read_intensities(plans, dataset.channels.size());
    read.configuration = read_configuration(keys, configuration, dataset.channels.size());
    read.network = read_architecture(keys, static_cast<int>(dataset.channels.size()), dataset.labels.outputs());
    return read;
}

}  // namespace iwseg::nnunet
