#include "apps/run_folder/staleness.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <system_error>

#include "apps/config/config_keys.h"
#include "apps/prediction/prediction_files.h"
#include "apps/run_folder/run_files.h"
#include "base/atomic_file.h"
#include "base/some_names.h"
#include "data/dataset.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::int64_t time_of(const fs::path& file) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error);
    return error ? 0 : std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::uint32_t crc_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::vector<char> block(std::size_t{1} << 20);
    uLong crc = crc32(0, nullptr, 0);
    while (in) {
        in.read(block.data(), static_cast<std::streamsize>(block.size()));
        crc = crc32(crc, reinterpret_cast<const Bytef*>(block.data()), static_cast<uInt>(in.gcount()));
    }
    return static_cast<std::uint32_t>(crc);
}

/// By its place in the dataset, so that a dataset that was moved is the same.
void add_file(Ingredients& ingredients, const Dataset& dataset, const fs::path& file) {
    const fs::path inside = file.lexically_relative(dataset.folder);
    ingredients.files.emplace_back(inside.empty() ? file.string() : inside.string(), file);
}

void add_prediction(Ingredients& ingredients, const fs::path& predictions, const std::string& name,
                    std::initializer_list<const char*> kinds) {
    const auto add = [&](const fs::path& file) {
        ingredients.files.emplace_back(
            (RunFiles({}).predictions() / file.lexically_relative(predictions)).generic_string(), file);
    };
    // Of several classes: the labels in place of the others, and a probability and logit in a folder of each.
    if (const auto labels = find_prediction_file(predictions, name, "")) {
        add(*labels);
        std::set<fs::path> folders;
        for (const auto& entry : fs::directory_iterator(predictions))
            if (entry.is_directory()) folders.insert(entry.path());
        for (const fs::path& folder : folders)
            for (const char* kind : {"prob", "logit"})
                if (const auto file = find_prediction_file(folder, name, kind)) add(*file);
        return;
    }
    for (const char* kind : kinds) {
        add(find_prediction_file(predictions, name, kind)
                .value_or(prediction_file(predictions, name, kind, ".nii.gz")));
    }
}

/// The keys that say how scans are read and predicted, as config.toml has them.
std::map<std::string, std::string> prediction_settings(const Config& config) {
    std::map<std::string, std::string> settings;
    std::istringstream lines(config_toml(config));
    for (std::string line; std::getline(lines, line);) {
        const std::size_t equals = line.find(" = ");
        const std::string key = line.substr(0, equals);
        if (key.starts_with("predict.") || says_how_scans_are_read(key)) settings[key] = line.substr(equals + 3);
    }
    return settings;
}

}  // namespace

FileState FileState::of(const fs::path& file) {
    std::error_code gone;
    const std::uintmax_t bytes = fs::file_size(file, gone);
    return gone ? FileState{} : FileState{bytes, time_of(file), crc_of(file)};
}

Snapshot Snapshot::of(const Ingredients& ingredients) {
    Snapshot snapshot{{}, ingredients.settings};
    for (const auto& [name, file] : ingredients.files) snapshot.files[name] = FileState::of(file);
    return snapshot;
}

void Snapshot::add(const Snapshot& other) {
    for (const auto& [name, state] : other.files) files[name] = state;
    for (const auto& [key, value] : other.settings) settings[key] = value;
}

RunInputs::RunInputs(fs::path file) : file_(std::move(file)) {
    if (fs::exists(file_)) read();
}

/// Whether the file is what was recorded; its new time is then recorded, so that it is read only once.
bool RunInputs::same(FileState& recorded, const fs::path& file) {
    std::error_code gone;
    const std::uintmax_t bytes = fs::file_size(file, gone);
    if (gone || bytes != recorded.bytes) return false;
    const std::int64_t changed = time_of(file);
    if (changed != recorded.changed && crc_of(file) != recorded.crc) return false;
    recorded.changed = changed;
    return true;
}

std::vector<std::string> RunInputs::changes(const std::string& result, const Ingredients& now) {
    Snapshot& recorded = results_.at(result);
    std::vector<std::string> words;
    std::map<std::string, FileState> left = recorded.files;
    for (const auto& [name, file] : now.files) {
        left.erase(name);
        const auto known = recorded.files.find(name);
        if (known == recorded.files.end())
            words.push_back(name + " is new");
        else if (!fs::exists(file))
            words.push_back(name + " is gone");
        else if (!same(known->second, file))
            words.push_back(name + " has changed");
    }
    for (const auto& [name, state] : left) words.push_back(name + " is no part any more");
    for (const auto& [key, value] : now.settings)
        if (const auto before = recorded.settings.find(key);
            before == recorded.settings.end() || before->second != value)
            words.push_back(fmt::format("{} is {}", key, value));
    return words;
}

void RunInputs::record(const std::string& result, const Snapshot& made_of) {
    results_[result] = made_of;
    write();
}

void RunInputs::read() {
    // What cannot be understood is not known: results are then compared by times, as where there is no record.
    const auto document = json::parse(read_text(file_), nullptr, false);
    if (!document.is_object()) return;
    for (const auto& [name, entry] : document.items()) try {
            Snapshot result;
            entry.at("settings").get_to(result.settings);
            for (const auto& [file, state] : entry.at("files").items())
                result.files[file] = {state.at("bytes").get<std::uint64_t>(),
                                      state.at("changed_ns").get<std::int64_t>(),
                                      state.at("crc32").get<std::uint32_t>()};
            results_[name] = std::move(result);
        } catch (const json::exception&) {
            continue;
        }
}

void RunInputs::write() const {
    json document = json::object();
    for (const auto& [name, result] : results_) {
        json files = json::object();
        for (const auto& [file, state] : result.files)
            files[file] = {{"bytes", state.bytes}, {"changed_ns", state.changed}, {"crc32", state.crc}};
        document[name] = {{"files", files}, {"settings", result.settings}};
    }
    write_text(file_, document.dump(1) + "\n");
}

// ----------------------------------------------------------------------------------------------------------------------

std::string prediction_result(const std::string& case_name) {
    return "prediction of " + case_name;
}

Ingredients training_ingredients(const Dataset& dataset, const Split& split) {
    Ingredients ingredients;
    for (const std::string& name : split.train) {
        const Case& scan = dataset.find(name);
        for (const fs::path& image : scan.images) add_file(ingredients, dataset, image);
        if (scan.label) add_file(ingredients, dataset, *scan.label);
    }
    return ingredients;
}

Ingredients prediction_sources(const Dataset& dataset, const Case& scan, const fs::path& weights,
                               const Config& config) {
    Ingredients ingredients;
    for (const fs::path& image : scan.images) add_file(ingredients, dataset, image);
    ingredients.files.emplace_back(RunFiles({}).model().string(), weights);
    ingredients.settings = prediction_settings(config);
    return ingredients;
}

Ingredients prediction_files_of(const Case& scan, const fs::path& predictions) {
    Ingredients ingredients;
    add_prediction(ingredients, predictions, scan.name, {"mask", "prob", "logit"});
    return ingredients;
}

Ingredients prediction_ingredients(const Dataset& dataset, const Case& scan, const fs::path& weights,
                                   const Config& config, const fs::path& predictions) {
    Ingredients ingredients = prediction_sources(dataset, scan, weights, config);
    for (auto& file : prediction_files_of(scan, predictions).files) ingredients.files.push_back(std::move(file));
    return ingredients;
}

Ingredients records_ingredients(const Dataset& dataset, const std::vector<Case>& cases, const fs::path& predictions,
                                const Config& config) {
    Ingredients ingredients;
    for (const Case& scan : cases) {
        if (scan.label) add_file(ingredients, dataset, *scan.label);
        add_prediction(ingredients, predictions, scan.name, {"prob", "logit"});
    }
    add_file(ingredients, dataset, description_file(dataset.folder));
    std::string labels;
    for (const int label : config.labels) labels += fmt::format("{}{}", labels.empty() ? "" : ", ", label);
    ingredients.settings["labels"] = "[" + labels + "]";
    if (!config.classes.empty()) ingredients.settings["classes"] = config.classes;
    if (!config.regions.empty()) ingredients.settings["regions"] = config.regions;
    return ingredients;
}

Ingredients report_ingredients(const RunFolder& run, const Dataset& dataset, const std::vector<Case>& cases,
                               const std::string& name, const std::string& summary) {
    Ingredients ingredients;
    for (const fs::path& file : {run.records(), run.log(), run.config(), run.split(), run.sessions(),
                                 run.operating_point(), run.classes() / "metrics.json"})
        if (fs::exists(file)) ingredients.files.emplace_back(file.filename().string(), file);
    add_file(ingredients, dataset, description_file(dataset.folder));
    ingredients.settings = {{"name", name}, {"summary", summary.empty() ? "none" : summary}};
    for (const Case& scan : cases) {
        add_prediction(ingredients, run.predictions(), scan.name, {"mask"});
        for (const fs::path& image : scan.images) add_file(ingredients, dataset, image);
        if (scan.label) add_file(ingredients, dataset, *scan.label);
    }
    return ingredients;
}

void check_training_inputs(const RunFolder& run, const Dataset& dataset, const Split& split, bool begins) {
    RunInputs inputs(run.inputs());
    const Ingredients now = training_ingredients(dataset, split);
    if (begins) return inputs.record("training", Snapshot::of(now));
    if (!inputs.knows("training")) return;
    const std::vector<std::string> changes = inputs.changes("training", now);
    if (changes.empty()) return;
    fmt::print(
        "note     the training in {} was begun on other files ({}): it goes on or stays as it is; another --out "
        "trains on the files of now\n",
        run.root().string(), some_names(changes));
    std::fflush(stdout);
}

void note_stale_predictions(const fs::path& predictions, const Dataset& dataset, const std::vector<Case>& cases) {
    RunInputs inputs(RunFiles(named_folder(predictions).parent_path()).inputs());
    std::vector<std::string> stale, reasons;
    for (const Case& scan : cases) {
        if (!inputs.knows(prediction_result(scan.name))) continue;
        Ingredients images;
        for (const fs::path& image : scan.images) add_file(images, dataset, image);
        std::vector<std::string> changes = inputs.changes(prediction_result(scan.name), images);
        std::erase_if(changes, [](const std::string& word) { return !word.ends_with(" has changed"); });
        if (changes.empty()) continue;
        stale.push_back(scan.name);
        reasons.push_back(changes.front());
    }
    if (stale.empty()) return;
    fmt::print("note     predictions of {} were made of other scans: {}\n", some_names(stale), some_names(reasons));
    std::fflush(stdout);
}

}  // namespace iwseg
