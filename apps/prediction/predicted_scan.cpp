#include "apps/prediction/predicted_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <system_error>

#include "apps/prediction/prediction_files.h"
#include "base/error.h"
#include "data/volume/formats.h"
#include "evaluation/score_by_label.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

void require_finite(const std::vector<float>& values, const fs::path& file) {
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
        throw InputError(file.string() + " holds a value that is not finite");
}

/// What lies outside by rounding (of a scl_slope, or of a mean) is put on the bound.
void require_probabilities(std::vector<float>& values, const fs::path& file, const char* or_else) {
    constexpr float rounding = 1e-5f;
    require_finite(values, file);
    const auto outside = std::find_if(values.begin(), values.end(),
                                      [](float value) { return value < -rounding || value > 1 + rounding; });
    if (outside != values.end())
        throw InputError(
            fmt::format("{} holds {}; expected probabilities from 0 to 1{}", file.string(), *outside, or_else));
    for (float& value : values) value = std::clamp(value, 0.0f, 1.0f);
}

std::vector<float> read_at(const fs::path& file, const PredictionTarget& target) {
    Volume<float> volume = read_image(file);
    require_same_geometry(volume.geometry, file, target.geometry, target.file);
    return std::move(volume.voxels);
}

std::optional<Volume<std::int32_t>> read_if_whole(const fs::path& file) {
    try {
        return read_labels(file);
    } catch (const InputError&) {
        return {};  // whatever else is wrong with the file is said where it is read as an image
    }
}

/// values: what the mask's values mean.
PredictedScan read_mask_or_probabilities(const fs::path& file, const PredictionTarget& target,
                                         const LesionLabels& values) {
    PredictedScan scan;
    if (const auto mask = read_if_whole(file)) {
        require_same_geometry(mask->geometry, file, target.geometry, target.file);
        scan.is_mask = true;
        const std::vector<std::uint8_t> lesion = values.mask_of(*mask, file).lesion;
        scan.probability.assign(lesion.begin(), lesion.end());
        const auto& found = mask->voxels;
        scan.only_other_labels = std::find(lesion.begin(), lesion.end(), 1) == lesion.end() &&
                                 std::any_of(found.begin(), found.end(), [](auto value) { return value != 0; });
        return scan;
    }
    if (target.of_class)
        throw InputError(file.string() + " holds no whole numbers; expected labels, from which a class can be told");
    scan.probability = read_at(file, target);
    require_probabilities(scan.probability, file, ", or the whole numbers of a mask");
    return scan;
}

void keep_to_labels(PredictedScan& scan, const fs::path& file, const PredictionTarget& target) {
    PredictionTarget map = target;
    map.of_class = true;
    const PredictedScan labelled = read_mask_or_probabilities(file, map, target.labels);
    scan.threshold = kThresholdByLabel;
    for (std::size_t v = 0; v < scan.probability.size(); ++v)
        scan.probability[v] = score_by_label(scan.probability[v], labelled.probability[v] > 0);
}

}  // namespace

std::optional<PredictionFiles> find_prediction(const fs::path& folder, const std::string& name,
                                               const std::string& of_class) {
    if (!of_class.empty()) {
        if (const auto file = find_prediction_file(folder / of_class, name, "prob"))
            return PredictionFiles{.probability = *file,
                                   .logit = find_prediction_file(folder / of_class, name, "logit").value_or(""),
                                   .labels = find_prediction_file(folder, name, "").value_or("")};
        if (const auto file = find_prediction_file(folder, name, "")) return PredictionFiles{.plain = *file};
        return {};
    }
    if (const auto file = find_prediction_file(folder, name, "prob"))
        return PredictionFiles{.probability = *file, .logit = find_prediction_file(folder, name, "logit").value_or("")};
    if (const auto file = find_prediction_file(folder, name, "")) return PredictionFiles{.plain = *file};
    if (const auto file = find_prediction_file(folder, name, "mask")) return PredictionFiles{.mask = *file};
    return {};
}

std::string expected_predictions(const std::string& name, const std::string& of_class) {
    if (!of_class.empty()) return fmt::format("{1}/{0}_prob.nii.gz or the labels {0}.nii.gz", name, of_class);
    return fmt::format("{0}_prob.nii.gz, {0}.nii.gz or {0}_mask.nii.gz", name);
}

std::vector<std::string> predicted_names(const fs::path& folder, const std::string& of_class) {
    std::error_code error;
    std::set<std::string> names;
    if (!of_class.empty() && fs::is_directory(folder / of_class))
        for (const std::string& name : predicted_names(folder / of_class)) names.insert(name);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
        const fs::path& file = entry.path();
        if (file.filename().string().starts_with(".") || !find_format(file)) continue;
        std::string name = name_without_ending(file);
        for (const std::string suffix : {"_prob", "_logit", "_mask"})
            if (name.ends_with(suffix)) {
                name.resize(name.size() - suffix.size());
                break;
            }
        names.insert(name);
    }
    if (error) throw InputError("the folder " + folder.string() + " cannot be listed: " + error.message());
    return {names.begin(), names.end()};
}

PredictedScan read_prediction(const PredictionFiles& files, const PredictionTarget& target) {
    if (!files.plain.empty()) return read_mask_or_probabilities(files.plain, target, target.labels);
    if (!files.mask.empty()) return read_mask_or_probabilities(files.mask, target, {});
    PredictedScan scan;
    scan.probability = read_at(files.probability, target);
    require_probabilities(scan.probability, files.probability, "");
    if (!files.labels.empty()) {
        keep_to_labels(scan, files.labels, target);
        std::error_code none;
        scan.older_labels = fs::last_write_time(files.labels, none) < fs::last_write_time(files.probability, none);
    }
    if (files.logit.empty()) return scan;
    scan.logit = read_at(files.logit, target);
    require_finite(scan.logit, files.logit);
    return scan;
}

}  // namespace iwseg
