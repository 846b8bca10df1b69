#include "nnunet/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "engine/compile.h"
#include "engine/graph.h"
#include "import/torch_checkpoint.h"

namespace iwseg::nnunet {
namespace {

using std::filesystem::path;

constexpr const char *kTorch = ".pth", *kSafetensors = ".safetensors", *kNotesKey = "nnunet";

/// fold_0, fold_1, …, fold_all: copies under other names are no folds of their own.
bool is_fold(const std::string& name) {
    constexpr std::string_view prefix = "fold_";
    if (!name.starts_with(prefix) || name.size() == prefix.size() || name.size() > prefix.size() + 3) return false;
    const std::string rest = name.substr(prefix.size());
    return rest == "all" || std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Names of folders fold_0, …, fold_all that hold a checkpoint, in order.
std::vector<std::string> folds_in(const path& folder, const std::string& checkpoint) {
    std::vector<std::string> folds;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (is_fold(name) && (std::filesystem::exists(entry.path() / (checkpoint + kTorch)) ||
                              std::filesystem::exists(entry.path() / (checkpoint + kSafetensors))))
            folds.push_back(name);
    }
    std::sort(folds.begin(), folds.end(), [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() < b.size() : a < b;  // fold_10 after fold_2
    });
    return folds;
}

std::vector<std::string> chosen_folds(const path& folder, const ModelChoice& choice) {
    const std::vector<std::string> there = folds_in(folder, choice.checkpoint);
    if (there.empty())
        throw InputError(fmt::format("{} has no fold_K with a {}{}", folder.string(), choice.checkpoint, kTorch));
    std::vector<std::string> chosen;
    if (choice.folds.empty() || choice.folds == "all") {
        // A network of all cases is none of a cross-validation: it is taken by its name, or where there are no others.
        for (const std::string& fold : there)
            if (fold != "fold_all") chosen.push_back(fold);
        const bool has_all = chosen.size() < there.size();
        return has_all && (choice.folds == "all" || chosen.empty()) ? std::vector<std::string>{"fold_all"} : chosen;
    }
    for (std::size_t begin = 0; begin <= choice.folds.size();) {
        const std::size_t end = std::min(choice.folds.find(',', begin), choice.folds.size());
        const std::string fold = "fold_" + choice.folds.substr(begin, end - begin);
        if (std::find(there.begin(), there.end(), fold) == there.end())
            throw InputError(fmt::format("{} has no {} with a {}{}; it has {}", folder.string(), fold,
                                         choice.checkpoint, kTorch, fmt::join(there, ", ")));
        if (std::find(chosen.begin(), chosen.end(), fold) != chosen.end())
            throw InputError(fmt::format("folds {} name {} twice", choice.folds, fold));
        chosen.push_back(fold);
        begin = end + 1;
    }
    return chosen;
}

std::vector<int> mirrored_axes(const std::string& file, const std::vector<std::int64_t>& axes) {
    std::vector<int> read;
    for (const std::int64_t axis : axes) {
        if (axis < 0 || axis > 2 || std::find(read.begin(), read.end(), static_cast<int>(axis)) != read.end())
            throw InputError(
                fmt::format("{}: inference_allowed_mirroring_axes = [{}] is not usable: expected some of 0, "
                            "1 and 2",
                            file, fmt::join(axes, ", ")));
        read.push_back(static_cast<int>(axis));
    }
    return read;
}

CheckpointNotes notes_of(const Pickle::Value& root, const std::string& file) {
    CheckpointNotes notes{root.at("init_args").at("configuration").text(), "", {}};
    if (const auto trainer = root.find("trainer_name")) notes.trainer = trainer->text();
    // Checkpoints from before there was the key may be mirrored along no axis.
    if (const auto axes = root.find("inference_allowed_mirroring_axes"); axes && !axes->is_none()) {
        std::vector<std::int64_t> list;
        for (std::size_t i = 0; i < axes->size(); ++i) list.push_back((*axes)[i].integer());
        notes.mirror = mirrored_axes(file, list);
    }
    return notes;
}

CheckpointNotes notes_of(const std::map<std::string, std::string>& metadata, const std::string& file) {
    const auto found = metadata.find(kNotesKey);
    const auto keys = nlohmann::json::parse(found == metadata.end() ? "" : found->second, nullptr, false);
    const auto is_text = [&](const char* key) { return keys.contains(key) && keys[key].is_string(); };
    if (!keys.is_object() || !is_text("configuration") || !is_text("trainer") || !keys.contains("mirror") ||
        !keys["mirror"].is_array())
        throw InputError(file +
                         " does not say of which configuration of nnU-Net it is: expected the metadata that "
                         "iwseg import writes");
    std::vector<std::int64_t> axes;
    for (const auto& axis : keys["mirror"]) axes.push_back(axis.is_number_integer() ? axis.get<std::int64_t>() : -1);
    return {keys["configuration"].get<std::string>(), keys["trainer"].get<std::string>(), mirrored_axes(file, axes)};
}

CheckpointNotes read_notes(const path& checkpoint) {
    if (checkpoint.extension() == kTorch) {
        const TorchCheckpoint opened(checkpoint);
        return notes_of(opened.root(), checkpoint.string());
    }
    std::map<std::string, std::string> metadata;
    read_safetensors_header(checkpoint, &metadata);
    return notes_of(metadata, checkpoint.string());
}

/// Whether an array of a checkpoint is one that the network need not have: of another head of deep supervision, or
/// listed a second time.
bool is_beside(const std::string& name) {
    return name.starts_with("decoder.seg_layers.") || name.starts_with("decoder.encoder.") ||
           name.find(".all_modules.") != std::string::npos;
}

/// torch.compile and data parallel training put names before all others.
std::string plain_name(std::string name) {
    for (const std::string_view prefix : {"module.", "_orig_mod."})
        if (name.starts_with(prefix)) name.erase(0, prefix.size());
    return name;
}

std::map<std::string, StoredTensor> state_of(const path& checkpoint, const Parameters& network) {
    const TorchCheckpoint opened(checkpoint);
    std::map<std::string, const Parameter*> wanted;
    for (const Parameter& parameter : network.list()) wanted[parameter.name] = &parameter;
    std::map<std::string, StoredTensor> read;
    for (const auto& [stored, value] : opened.root().at("network_weights").entries()) {
        const std::string name = plain_name(stored);
        if (wanted.contains(name))
            read[name] = opened.read(value.tensor());
        else if (!is_beside(name))
            throw InputError(
                fmt::format("{} holds {}, which the network of plans.json does not have", checkpoint.string(), stored));
    }
    return read;
}

/// The network's parameters, zero.
Parameters parameters_of(const Model& model) {
    Graph graph;
    Parameters parameters;
    Context context({.device = "cpu", .threads = 1});
    const Sides& patch = model.plans.configuration.patch;
    const Tensor image = graph.input("patch", {1, model.plans.network.in_channels, patch.d, patch.h, patch.w});
    compile(graph, context, parameters, {.keep = {model.plans.network.build(image)}});
    return parameters;
}

}  // namespace

Model open_model(const path& folder, const ModelChoice& choice) {
    require_folder(folder, "model folder");
    for (const char* file : {"dataset.json", "plans.json"})
        if (!std::filesystem::exists(folder / file))
            throw InputError(fmt::format("{} is no results folder of nnU-Net's: it has no {}", folder.string(), file));
    Model model;
    model.folder = folder;
    model.dataset = read_dataset(folder / "dataset.json");
    model.folds = chosen_folds(folder, choice);
    for (const std::string& fold : model.folds) {
        const path torch = folder / fold / (choice.checkpoint + kTorch);
        model.checkpoints.push_back(
            std::filesystem::exists(torch) ? torch : folder / fold / (choice.checkpoint + kSafetensors));
        const CheckpointNotes notes = read_notes(model.checkpoints.back());
        if (fold == model.folds.front()) model.notes = notes;
        if (notes.configuration != model.notes.configuration || notes.mirror != model.notes.mirror)
            throw InputError(fmt::format("{} and {} are of different configurations or mirrored along different axes",
                                         model.checkpoints.front().string(), model.checkpoints.back().string()));
    }
    model.plans = read_plans(folder / "plans.json", model.notes.configuration, model.dataset);
    return model;
}

std::map<std::string, StoredTensor> read_weights(const path& checkpoint, const Parameters& network) {
    return checkpoint.extension() == kTorch ? state_of(checkpoint, network) : read_safetensors(checkpoint);
}

void load_weights(const path& checkpoint, Parameters& network) {
    network.load(read_weights(checkpoint, network), checkpoint.string());
}

std::int64_t import_model(const Model& model, const path& out) {
    if (std::filesystem::exists(out) && !(std::filesystem::is_directory(out) && std::filesystem::is_empty(out)))
        throw InputError(out.string() + " is there already, and is not an empty folder");
    Parameters parameters = parameters_of(model);
    make_folder(out);
    for (std::size_t i = 0; i < model.folds.size(); ++i) {
        load_weights(model.checkpoints[i], parameters);
        const nlohmann::json notes{{"configuration", model.notes.configuration},
                                   {"trainer", model.notes.trainer},
                                   {"mirror", model.notes.mirror}};
        make_folder(out / model.folds[i]);
        parameters.save(out / model.folds[i] / model.checkpoints[i].filename().replace_extension(kSafetensors),
                        {{kNotesKey, notes.dump()}, {"format", "pt"}});
    }
    for (const char* file : {"dataset.json", "plans.json"}) write_text(out / file, read_text(model.folder / file));
    return parameters.learned_elements();
}

}  // namespace iwseg::nnunet
