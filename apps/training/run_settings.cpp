#include "apps/training/training_run.h"
#include "apps/version.h"

namespace iwseg {

SamplingOptions sampling_options(const Config& config) {
    SamplingOptions options;
    options.patch = config.patch;
    options.batch = config.batch;
    options.nonzero_fraction = config.nonzero_fraction;
    // Labels of a step are those of classes, whose components the loss finds by itself.
    const bool of_classes = !config.classes.empty() || !config.regions.empty();
    options.components = config.components == "patch" && !of_classes ? ComponentMode::patch : ComponentMode::volume;
    options.connectivity = config.connectivity;
    options.weight_clip = {static_cast<float>(config.weight_clip[0]), static_cast<float>(config.weight_clip[1])};
    options.augmentation = config.augment;
    options.seed = config.seed;
    return options;
}

PreparationOptions preparation_options(const Config& config) {
    PreparationOptions options;
    options.channels = config.channels;
    options.intensity = config.intensity;
    options.mask_channel = config.mask_channel;
    options.labels = config.labels;
    options.connectivity = config.connectivity;
    if (config.nan) options.nan = static_cast<float>(*config.nan);
    return options;
}

PreparationOptions preparation_options(const Config& config, const Dataset& dataset) {
    PreparationOptions options = preparation_options(config);
    options.classes = class_scheme(config, dataset);
    return options;
}

ClassScheme class_scheme(const Config& config, const Dataset& dataset) {
    return {config.classes, config.regions, dataset.label_names};
}

PredictionSettings prediction_settings(const Config& config, const std::vector<std::string>& channels) {
    PredictionSettings settings;
    settings.intensity = config.intensity;
    if (config.nan) settings.nan = static_cast<float>(*config.nan);
    settings.channels = channels;
    settings.mask_channel = config.mask_channel;
    settings.grid = {config.predict.patch, config.predict.stride, config.precision == "bf16"};
    settings.tf32 = config.tf32;
    return settings;
}

void apply_settings(Config& config, const PredictionSettings& settings) {
    config.intensity = settings.intensity;
    config.nan = settings.nan;
    config.mask_channel = settings.mask_channel;
    config.predict = {settings.grid.patch, settings.grid.stride};
    config.precision = settings.grid.bf16 ? "bf16" : "fp32";
    config.tf32 = settings.tf32;
}

std::map<std::string, std::string> model_metadata(const Config& config, const std::vector<std::string>& channels,
                                                  const ClassScheme& classes) {
    // How the work was spread over threads is no part of the model: the file is the same whatever it was.
    Config made_of = config;
    made_of.workers = made_of.threads = made_of.checkpoint_every = 0;
    // Nor does it go by a dataset: classes are written out.
    if (classes.any()) (classes.regions() ? made_of.regions : made_of.classes) = label_classes_text(classes.classes());
    PredictionSettings settings = prediction_settings(config, channels);
    settings.classes = classes.any() ? classes.output() : OutputClasses{};
    std::map<std::string, std::string> metadata = metadata_of(settings);
    metadata["iwseg"] = kVersion;
    metadata["config"] = config_toml(made_of);
    return metadata;
}

}  // namespace iwseg
