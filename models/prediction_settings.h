#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/components/detection.h"
#include "models/class_decision.h"
#include "models/grid_prediction.h"
#include "models/intensity.h"

namespace iwseg {

/// How a network's scans are read and predicted, as a weights file says in its metadata: what an image's values become,
/// by which grid it is predicted, what counts as detected. `iwseg predict` does the same by its run's configuration.
struct PredictionSettings {
    Intensity intensity = {};
    /// What voxels become that are not finite, before all else; none: such an image is refused.
    std::optional<float> nan = {};
    std::vector<std::string> channels = {};  ///< names of the network's, in order; empty: not known
    /// Name of one more channel of the image, its last, that the network does not see: where it is not above 0, the
    /// others are set to their minimum. Empty: there is none.
    std::string mask_channel = {};
    GridOptions grid = {};
    bool tf32 = false;           ///< for the context (ContextOptions::tf32) that results shall be the program's on
    OutputClasses classes = {};  ///< of a network of several; without any, it has one channel
    DetectionRule rule = {};     ///< masks: chosen on validation scans, or probability > 0.5
};

/// As metadata of a weights file: under "prediction"
///   {"intensity": "zscore", "nan": null, "mask_channel": "", "patch": 160, "stride": 144, "precision": "fp32",
///    "tf32": true}
/// where intensity may also be "none" or {"window": [low, high]}, nan a number, precision "bf16"; under "channels" a
/// list of names; under "classes", of networks of several,
///   {"regions": false, "names": ["background", "edema", "tumour"], "values": [0, 1, 2]}
/// with what each channel is called and which label it is written as. The rule is not among them: training writes it,
/// with what it was chosen on, under "operating_point".
std::map<std::string, std::string> metadata_of(const PredictionSettings& settings);

/// What a file's metadata say. Of files from before "prediction" was written, these keys are read from the
/// configuration under "config". origin stands for the file in sentences. Throws InputError where neither is there, and
/// where a value is not usable.
PredictionSettings settings_in(const std::map<std::string, std::string>& metadata, const std::string& origin);

/// What a weights file's metadata say. Throws InputError, naming it, as settings_in does, and where it is not readable.
PredictionSettings settings_of_file(const std::filesystem::path& weights);

/// The rule alone: {"threshold": 0.5, "min_volume": 0} and whatever stands beside. Throws InputError where it is none.
DetectionRule parse_detection_rule(const std::string& json, const std::string& origin);

}  // namespace iwseg
