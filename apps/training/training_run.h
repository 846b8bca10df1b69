#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/config/config.h"
#include "apps/run_folder/run_folder.h"
#include "data/preparation.h"
#include "engine/context.h"
#include "models/prediction_settings.h"

namespace iwseg {

/// How scans are read under this configuration.
PreparationOptions preparation_options(const Config& config);
/// The same with the classes that are told apart, for labels of that dataset.
PreparationOptions preparation_options(const Config& config, const Dataset& dataset);
/// The classes or regions that the configuration tells apart in that dataset. Throws InputError as ClassScheme does.
ClassScheme class_scheme(const Config& config, const Dataset& dataset);
/// How its training samples patches, components and weights.
SamplingOptions sampling_options(const Config& config);

/// How scans are predicted under this configuration, of channels of these names.
PredictionSettings prediction_settings(const Config& config, const std::vector<std::string>& channels);
/// Sets the keys of the configuration that prediction_settings reads.
void apply_settings(Config& config, const PredictionSettings& settings);

/// Metadata of model.safetensors: the version, the whole configuration, and what of it programs need that predict with
/// the file alone (models/prediction_settings.h).
std::map<std::string, std::string> model_metadata(const Config& config, const std::vector<std::string>& channels,
                                                  const ClassScheme& classes = {});

/// The configuration of a training in the run folder: that of the run where it exists, else the defaults, with the
/// file's and the settings' keys. Throws InputError where the run was begun and resume is false, or where a key that
/// shaped the run is to change. Free to change: epochs, checkpoint_every, workers, threads,
/// small_diameter.
Config config_of_run(const RunFolder& run, const std::optional<std::filesystem::path>& file,
                     const std::vector<std::string>& settings, bool resume);

/// split.json: {"train": [...], "validation": [...], "test": [...]}. Throws InputError where it is missing or
/// malformed.
Split read_split(const std::filesystem::path& file);

/// Trains in the run folder, from its newest checkpoint where there is one, until the last step; writes config.toml,
/// split.json, log.jsonl, TensorBoard events, checkpoints and model.safetensors. Returns false, having done nothing,
/// where the training was finished already.
/// Throws InputError on unusable data and where the model is of an earlier step, but no checkpoint is there to go on
/// from, Interrupted (a checkpoint saved) on Ctrl-C, std::runtime_error where the loss is no longer a number.
/// profile_steps: so many steps, after a first one, are timed kernel by kernel into profile.json (chrome://tracing).
bool train(Context& context, const Config& config, const std::filesystem::path& dataset, const RunFolder& run,
           int profile_steps = 0);

}  // namespace iwseg
