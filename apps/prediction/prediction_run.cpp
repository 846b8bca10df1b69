#include "apps/prediction/prediction_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "apps/prediction/case_loop.h"
#include "apps/prediction/class_run.h"
#include "apps/prediction/ensemble.h"
#include "apps/prediction/memory_need.h"
#include "apps/prediction/output_folder.h"
#include "apps/prediction/prediction_files.h"
#include "apps/run_folder/run_files.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/channel_choice.h"
#include "data/preparation.h"
#include "data/volume/volume.h"
#include "models/grid_prediction.h"
#include "models/networks.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

fs::path output_file(const PredictionOptions& options, const Case& scan, const char* what) {
    return prediction_file(options.out, scan.name, what,
                           options.ending.empty() ? prediction_ending(scan.images.front()) : options.ending);
}

std::vector<fs::path> files_of(const PredictionOptions& options, const Case& scan) {
    std::vector<fs::path> files;
    for (const auto& [wanted, what] :
         {std::pair(options.mask, "mask"), std::pair(options.probability, "prob"), std::pair(options.logit, "logit")})
        if (wanted) files.push_back(output_file(options, scan, what));
    return files;
}

void write_prediction(Prediction prediction, const Geometry& geometry, const PredictionOptions& options,
                      const DetectionRule& rule, const Case& scan) {
    if (options.logit)
        write_volume(output_file(options, scan, "logit"), Volume<float>{geometry, std::move(prediction.logit)});
    prediction.logit = std::vector<float>();  // no longer held while the others are written
    const Volume<float> probability{geometry, std::move(prediction.probability)};
    if (options.probability) write_volume(output_file(options, scan, "prob"), probability);
    if (!options.mask) return;
    const Volume<std::uint8_t> mask{geometry,
                                    detect(probability.voxels.data(), geometry.shape, geometry.spacing(), rule)};
    write_volume(output_file(options, scan, "mask"), mask);
}

/// What the prediction of a case reads, holds and writes.
PredictionWork memory_of(const Dataset& dataset, const Case& scan, const PreparationOptions& reading,
                         const PredictionOptions& options, const EnsemblePredictor& predictor) {
    PredictionWork predicted{.name = scan.name, .logit = options.logit};
    predicted.lasting_bytes = predictor.bytes(read_geometry(scan.images.front()).shape);
    for (const fs::path& file : files_to_read(dataset, scan, reading)) predicted.files.push_back(file);
    predicted.channels = static_cast<std::int64_t>(selected_channels(dataset, reading).size());
    predicted.packed = !output_file(options, scan, "mask").string().ends_with(".nii");
    predicted.summed = predictor.sums();
    return predicted;
}

/// What the weights' metadata tell of the channels' names; nothing where they do not.
std::vector<std::string> channels_in(const std::map<std::string, std::string>& metadata) {
    const auto found = metadata.find("channels");
    if (found == metadata.end()) return {};
    const auto names = nlohmann::json::parse(found->second, nullptr, false);
    const auto is_name = [](const nlohmann::json& name) { return name.is_string(); };
    if (!names.is_array() || !std::all_of(names.begin(), names.end(), is_name)) return {};
    return names.get<std::vector<std::string>>();
}

/// Channels by the names that the network was trained on, unless files were given one by one.
PreparationOptions reading_options(const TrainedNetwork& network, const Dataset& dataset) {
    PreparationOptions options = preparation_options(network.config);
    options.with_label = false;
    if (network.channels.empty() || dataset.channels_by_position) return options;
    std::string note;
    options.channel_numbers = match_channels(dataset, network.channels, options, note);
    if (!note.empty()) fmt::print("note     {}\n", note);
    return options;
}

/// " (FLAIR, T1)"; nothing where the names are not known.
std::string in_brackets(const std::vector<std::string>& names) {
    return names.empty() ? "" : fmt::format(" ({})", fmt::join(names, ", "));
}

/// names: of the channels of the source, where they are known.
void require_channels(const TrainedNetwork& network, std::int64_t channels, const std::string& source,
                      const std::vector<std::string>& names = {}) {
    if (channels != network.architecture.in_channels)
        throw InputError(fmt::format("{} gives {} {}{}, but the network in {} takes {}{}", source, channels,
                                     channels == 1 ? "channel" : "channels", in_brackets(names),
                                     network.weights.string(), network.architecture.in_channels,
                                     in_brackets(network.channels)));
}

std::vector<std::string> names_of(const Dataset& dataset, const std::vector<std::int64_t>& channels) {
    std::vector<std::string> names;
    for (const std::int64_t channel : channels) names.push_back(dataset.channels[static_cast<std::size_t>(channel)]);
    return names;
}

}  // namespace

TrainedNetwork open_network(const fs::path& weights, const std::optional<fs::path>& config) {
    std::map<std::string, std::string> metadata;
    TrainedNetwork network{weights, network_of_weights(weights.string(), &metadata), {}};
    if (metadata.contains("classes")) network.classes = settings_in(metadata, weights.string()).classes;
    if (network.architecture.out_channels != std::max(1, network.classes.outputs()))
        throw InputError(fmt::format(
            "{} has {} output channels, but {} expected", weights.string(), network.architecture.out_channels,
            network.classes.values.empty() ? "one, the lesion's, was" : "those of the classes in its metadata were"));
    network.channels = channels_in(metadata);
    if (const auto point = metadata.find("operating_point"); point != metadata.end())
        network.operating_point = parse_operating_point(point->second, weights.string() + " (its metadata)");
    if (config) {
        network.config = resolve_config(config, {});
        if (network.config.network != network.architecture.name)
            throw InputError(fmt::format("{} says network = {}, but {} holds a {}", config->string(),
                                         network.config.network, weights.string(), network.architecture.name));
        if (network.config.widths != network.architecture.widths)
            throw InputError(fmt::format("{} says widths = [{}], but the network in {} has [{}]", config->string(),
                                         fmt::join(network.config.widths, ", "), weights.string(),
                                         fmt::join(network.architecture.widths, ", ")));
        return network;
    }
    network.configured = metadata.contains("config") || metadata.contains("prediction");
    if (metadata.contains("config"))
        apply_toml(network.config, metadata["config"], weights.string() + " (its metadata)");
    else if (network.configured)  // saved by a program of its own
        apply_settings(network.config, settings_in(metadata, weights.string()));
    else
        network.config.intensity.kind = Intensity::Kind::none;
    network.config.network = network.architecture.name;
    network.config.widths = network.architecture.widths;
    return network;
}

void predict_cases(Context& context, const std::vector<TrainedNetwork>& networks, const Dataset& dataset,
                   const std::vector<Case>& cases, const PredictionOptions& options) {
    require_alike(networks);
    const TrainedNetwork& network = networks.front();
    const PreparationOptions reading = reading_options(network, dataset);
    const std::vector<std::int64_t> channels = selected_channels(dataset, reading);
    require_channels(network, static_cast<std::int64_t>(channels.size()), dataset.folder.string(),
                     names_of(dataset, channels));
    if (!network.classes.values.empty())
        return predict_class_cases(context, networks, dataset, cases, options, reading);
    std::vector<std::optional<OperatingPoint>> points;
    for (const TrainedNetwork& one : networks) points.push_back(one.operating_point);
    const MaskRules rules(points, options.masks);
    if (options.mask) fmt::print("masks    {}\n", rules.sentence());
    const std::vector<Case> left =
        unfinished(cases, networks, options, [&](const Case& scan) { return files_of(options, scan); });
    if (left.empty()) return;
    const OutputFolder folder(options.out, "prediction");
    EnsemblePredictor predictor(context, networks, options);
    const auto predict = [&](const Case& scan, PreparedCase prepared) {
        require_channels(network, prepared.channels, scan.images.front().string());
        const Extent shape = prepared.geometry.shape;
        Prediction prediction;
        with_progress(scan, [&](const PatchProgress& progress) {
            prediction = predictor.predict(prepared.image.data(), shape[0], shape[1], shape[2], progress);
        });
        prepared.image = std::vector<float>();  // no longer held while results are written
        write_prediction(std::move(prediction), prepared.geometry, options, rules.of(scan.name), scan);
    };
    const auto need = [&](const Case& scan) {
        return prediction_need(memory_of(dataset, scan, reading, options, predictor));
    };
    predict_one_by_one(dataset, left, options, reading, {need, predict});
}

std::vector<Case> choose_cases(const Dataset& dataset, const std::vector<std::string>& names,
                               const fs::path& split_file) {
    std::vector<Case> cases;
    if (names.empty() && split_file.empty()) {
        cases = dataset.cases;
        cases.insert(cases.end(), dataset.test_cases.begin(), dataset.test_cases.end());
        return cases;
    }
    for (const std::string& name : names.empty() ? read_split(split_file).test : names)
        cases.push_back(dataset.find(name));
    return cases;
}

std::vector<std::string> own_test_scans(const fs::path& run) {
    const fs::path file = RunFiles(run).split();
    return fs::exists(file) ? read_split(file).test : std::vector<std::string>();
}

bool is_newer(const fs::path& file, const fs::path& source) {
    std::error_code error, source_error;
    const auto made = fs::last_write_time(file, error);
    const auto from = fs::last_write_time(source, source_error);
    return !error && !source_error && made >= from;
}

}  // namespace iwseg
