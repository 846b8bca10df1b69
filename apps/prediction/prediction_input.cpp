#include "apps/prediction/prediction_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "apps/prediction/ensemble.h"
#include "apps/run_folder/run_files.h"
#include "apps/run_folder/trained_on.h"
#include "apps/training/training_run.h"
#include "base/error.h"
#include "data/dataset.h"
#include "data/scan_listing.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

using Names = std::vector<std::string>;

/// The name of a channel that the configuration gives by name or by number.
std::string name_in(const Names& channels, const std::string& name_or_number) {
    if (std::find(channels.begin(), channels.end(), name_or_number) != channels.end()) return name_or_number;
    for (std::size_t number = 0; number < channels.size(); ++number)
        if (name_or_number == std::to_string(number)) return channels[number];
    return name_or_number;
}

/// How the files of a scan may hold its channels: as the dataset that was trained on, or only those that are taken.
struct Layouts {
    Names as_trained;  ///< empty where that is not known
    Names taken;       ///< the mask, where there is one, is the last
};

Layouts layouts_of(const TrainedNetwork& network, const std::optional<TrainedOn>& trained) {
    Layouts layouts;
    if (trained) layouts.as_trained = trained->channels;
    layouts.taken = network.channels;
    if (std::ssize(layouts.taken) != network.architecture.in_channels) {
        layouts.taken.clear();
        for (int c = 0; c < network.architecture.in_channels; ++c) layouts.taken.push_back(std::to_string(c));
    }
    if (!network.config.mask_channel.empty())
        layouts.taken.push_back(trained ? name_in(trained->channels, network.config.mask_channel) : "mask");
    return layouts;
}

/// How the configuration names the last channel: by its number where its name is another's too.
std::string mask_name(const Names& channels) {
    return std::count(channels.begin(), channels.end(), channels.back()) == 1 ? channels.back()
                                                                              : std::to_string(channels.size() - 1);
}

bool is_dataset(const fs::path& folder) {
    return fs::exists(description_file(folder));
}

/// The scans of a folder without dataset.json, or of files, as a dataset of their own.
PredictionInput plain_scans(const PredictionRequest& request, TrainedNetwork& network,
                            const std::optional<TrainedOn>& trained) {
    PredictionInput found;
    fs::path folder = request.input.front();
    const bool is_folder = fs::is_directory(folder);
    if (is_folder && fs::is_directory(folder / "imagesTs")) {
        folder /= "imagesTs";
        found.dataset.notes.push_back(fmt::format("scans are taken from {}", folder.string()));
    }
    const Layouts layouts = layouts_of(network, trained);
    ListingOptions options{{layouts.taken}, request.cases};
    // A folder is in the layout of what was trained on rather than one made for the network.
    if (!layouts.as_trained.empty())
        options.layouts.insert(is_folder ? options.layouts.begin() : options.layouts.end(), layouts.as_trained);
    ScanListing listing = is_folder ? list_scan_folder(folder, options) : list_scan_files(request.input, options);
    if (listing.channels != layouts.as_trained) {
        found.dataset.channels_by_position = true;
        network.config.channels.clear();
        if (!network.config.mask_channel.empty()) network.config.mask_channel = mask_name(listing.channels);
    }
    found.dataset.notes.insert(found.dataset.notes.end(), listing.notes.begin(), listing.notes.end());
    found.dataset.folder = is_folder ? folder : folder.parent_path();
    found.dataset.name = folder.filename().string();
    found.dataset.channels = std::move(listing.channels);
    found.cases = found.dataset.cases = std::move(listing.cases);
    found.choice =
        request.cases.empty()
            ? fmt::format("{} given",
                          found.cases.size() == 1 ? "the scan" : fmt::format("all {} scans", found.cases.size()))
            : fmt::format("{} named by --cases", found.cases.size());
    return found;
}

/// Says how a dataset's channels are matched (predict_cases does it), where that does not go without saying.
void note_channels(Dataset& dataset, const TrainedNetwork& network) {
    if (dataset.channels.size() < 2 || dataset.channels == network.channels) return;
    const auto has = [&](const std::string& name) {
        return std::find(dataset.channels.begin(), dataset.channels.end(), name) != dataset.channels.end();
    };
    const Names& taken = network.channels;
    if (taken.empty() && network.config.channels.empty())
        dataset.notes.push_back(
            fmt::format("channels are taken by their position: {}", fmt::join(dataset.channels, ", ")));
    else if (!taken.empty() && std::all_of(taken.begin(), taken.end(), has))
        dataset.notes.push_back(fmt::format("channels are taken by name: {} of {}", fmt::join(taken, ", "),
                                            fmt::join(dataset.channels, ", ")));
}

/// Whether the run was trained on the dataset; of runs that do not say so, where all cases of their split are there.
bool is_own(const Dataset& dataset, const Split& split, const std::optional<TrainedOn>& trained) {
    if (trained) return trained->is(dataset);
    Names known = case_names(dataset.cases), tests = case_names(dataset.test_cases);
    known.insert(known.end(), tests.begin(), tests.end());
    for (const auto* part : {&split.train, &split.validation, &split.test})
        for (const std::string& name : *part)
            if (std::find(known.begin(), known.end(), name) == known.end()) return false;
    return true;
}

/// A run and what its folder says of the data it was trained on.
struct Source {
    fs::path run;
    Split split;
    std::optional<TrainedOn> trained;
};

std::vector<Source> sources_of(const std::vector<fs::path>& runs) {
    std::vector<Source> sources;
    for (const fs::path& run : runs) {
        const fs::path split = RunFiles(run).split();
        sources.push_back(
            {run, fs::exists(split) ? read_split(split) : Split{}, read_trained_on(RunFiles(run).trained_on())});
    }
    return sources;
}

/// Of several runs, those cases that none was trained on that this dataset is the own of.
void choose_of_own(const PredictionRequest& request, const std::vector<fs::path>& owners, PredictionInput& found) {
    const std::string folder = found.dataset.folder.string();
    const std::size_t all = found.dataset.cases.size() + found.dataset.test_cases.size();
    if (request.runs.size() > 1) {
        found.cases = cases_not_trained_on(found.dataset, owners);
        found.choice =
            fmt::format("{} that none of the networks was trained on, of {} in {}", found.cases.size(), all, folder);
        if (owners.size() < request.runs.size())
            found.choice += fmt::format("; {} of {} runs were trained on it", owners.size(), request.runs.size());
        return;
    }
    const fs::path split_file = RunFiles(owners.front()).split();
    if (read_split(split_file).test.empty())
        throw InputError(split_file.string() + " has no case to test on: name the cases to predict by --cases");
    found.cases = choose_cases(found.dataset, {}, split_file);
    found.choice = fmt::format("{} to test on by the run's split, of {} in {}", found.cases.size(), all, folder);
}

void choose(const PredictionRequest& request, const std::vector<Source>& sources, PredictionInput& found) {
    if (!request.cases.empty()) {
        found.cases = choose_cases(found.dataset, request.cases, {});
        found.choice = fmt::format("{} named by --cases", found.cases.size());
        return;
    }
    std::vector<fs::path> owners;
    for (const Source& source : sources) {
        read_split(RunFiles(source.run).split());  // a run without one is none
        if (is_own(found.dataset, source.split, source.trained)) owners.push_back(source.run);
    }
    if (!owners.empty()) return choose_of_own(request, owners, found);
    found.cases = choose_cases(found.dataset, {}, {});
    found.choice = fmt::format("all {} of {}", found.cases.size(), found.dataset.folder.string());
    if (sources.empty()) return;
    found.choice +=
        sources.size() > 1 ? ", which none of the runs was trained on" : ", which the run was not trained on";
    if (sources.size() == 1 && sources.front().trained)
        found.choice += fmt::format(" (that was {})", sources.front().trained->folder.string());
}

bool contains(const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// A run without split.json has no test scans; plain files are never a whole dataset.
Names own_test_scans(const std::vector<Source>& sources, const std::vector<TrainedNetwork>& networks,
                     const PredictionInput& found, bool plain) {
    Names own;
    const auto add = [&](const std::string& name) {
        if (!contains(own, name)) own.push_back(name);
    };
    for (const Source& source : sources) {
        const bool whole = !plain && is_own(found.dataset, source.split, source.trained);
        for (const Case& scan : found.cases)
            if (contains(source.split.test, scan.name) && (whole || (source.trained && source.trained->holds(scan))))
                add(scan.name);
    }
    for (const TrainedNetwork& network : networks) {
        if (!network.operating_point) continue;
        const auto& test = network.operating_point->test_scans;
        for (const Case& scan : found.cases)
            if (const auto known = test.find(scan.name); known != test.end() && known->second == image_bytes(scan))
                add(scan.name);
    }
    return own;
}

/// Throws where a case is named twice: its results would be written twice.
void require_once(const Names& names) {
    Names sorted = names;
    std::sort(sorted.begin(), sorted.end());
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
        throw InputError(fmt::format("--cases names {} twice", *twice));
}

}  // namespace

PredictionInput find_scans(const PredictionRequest& request, std::vector<TrainedNetwork>& networks) {
    require_once(request.cases);
    const std::vector<Source> sources = sources_of(request.runs);
    fs::path data = request.data;
    if (data.empty()) {
        for (const fs::path& input : request.input) {
            if (!fs::exists(input)) throw InputError("--input " + input.string() + " does not exist");
            if (request.input.size() > 1 && fs::is_directory(input))
                throw InputError("--input names the folder " + input.string() +
                                 " beside others: expected one folder, or files");
        }
        if (is_dataset(request.input.front())) data = request.input.front();
    }
    TrainedNetwork& first = networks.front();
    PredictionInput found;
    if (data.empty()) {
        found = plain_scans(request, first, sources.empty() ? std::nullopt : sources.front().trained);
    } else {
        found.dataset = open_dataset(data);
        note_channels(found.dataset, first);
        choose(request, sources, found);
    }
    for (TrainedNetwork& network : networks) {
        network.config.channels = first.config.channels;
        network.config.mask_channel = first.config.mask_channel;
    }
    found.own_test_scans = own_test_scans(sources, networks, found, data.empty());
    return found;
}

}  // namespace iwseg
