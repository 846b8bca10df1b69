#include "models/prediction_settings.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "engine/safetensors.h"

namespace iwseg {
namespace {

using nlohmann::json;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kKeys[] = {"intensity", "nan", "mask_channel", "patch", "stride", "precision", "tf32"};

/// JSON of a file that anybody may have made; discarded where it is none. Nothing here lies deep, and what does is left
/// out: copying and writing it would take as deep a stack.
json parsed(const std::string& text) {
    constexpr int kDeepest = 4;
    return json::parse(
        text, [](int depth, json::parse_event_t, json&) { return depth <= kDeepest; }, false);
}

/// For sentences.
std::string shortened(std::string text) {
    constexpr std::size_t kShown = 60;
    if (text.size() <= kShown) return text;
    text.resize(kShown);
    while (!text.empty() && static_cast<unsigned char>(text.back()) >= 0x80) text.pop_back();  // part of a character
    return text + "…";
}

[[noreturn]] void refuse(const std::string& origin, const std::string& key, const json& value, const char* expected) {
    throw InputError(origin + ": " + key + " is " +
                     shortened(value.dump(-1, ' ', false, json::error_handler_t::replace)) + ", but " + expected +
                     " was expected");
}

/// What it asks for would be left out, and the result another one.
[[noreturn]] void refuse_unknown(const std::string& origin, const std::string& key) {
    throw InputError(origin + " holds " + shortened(key) + ", which this version does not know");
}

[[noreturn]] void refuse_line(const std::string& origin, const std::string& line, const char* why) {
    throw InputError(origin + ": config holds the line '" + shortened(line) + "', " + why +
                     "; iwseg predict reads such a file");
}

bool is_usable(const json& number) {
    return number.is_number() && std::abs(number.get<double>()) <= std::numeric_limits<float>::max();
}

Intensity intensity_in(const json& value, const std::string& origin) {
    if (value == "none") return {Intensity::Kind::none};
    if (value == "zscore") return {Intensity::Kind::zscore};
    const json window = value.is_object() && value.size() == 1 && value.contains("window") ? value["window"] : json();
    if (!window.is_array() || window.size() != 2 || !is_usable(window[0]) || !is_usable(window[1]) ||
        !(window[0].get<double>() < window[1].get<double>()))
        refuse(origin, "intensity", value, R"("none", "zscore" or {"window": [low, high]} with low < high)");
    return {Intensity::Kind::window, window[0].get<double>(), window[1].get<double>()};
}

json intensity_json(const Intensity& intensity) {
    if (intensity.kind == Intensity::Kind::none) return "none";
    if (intensity.kind == Intensity::Kind::zscore) return "zscore";
    return {{"window", {intensity.low, intensity.high}}};
}

std::int64_t voxels_in(const json& value, const std::string& key, const std::string& origin) {
    if (!value.is_number_integer()) refuse(origin, key, value, "a whole number of voxels");
    return value.get<std::int64_t>();
}

/// Of keys that are not there, what settings holds already stays.
void read_keys(const json& keys, const std::string& origin, PredictionSettings& settings) {
    for (const auto& [key, value] : keys.items()) {
        if (key == "intensity") {
            settings.intensity = intensity_in(value, origin);
        } else if (key == "nan") {
            if (!value.is_null() && !is_usable(value)) refuse(origin, key, value, "a finite number or null");
            settings.nan = value.is_null() ? std::nullopt : std::optional(value.get<float>());
        } else if (key == "mask_channel") {
            if (!value.is_string()) refuse(origin, key, value, "a channel's name");
            settings.mask_channel = value.get<std::string>();
        } else if (key == "patch" || key == "stride") {
            (key == "patch" ? settings.grid.patch : settings.grid.stride) = voxels_in(value, key, origin);
        } else if (key == "precision") {
            if (value != "fp32" && value != "bf16") refuse(origin, key, value, R"("fp32" or "bf16")");
            settings.grid.bf16 = value == "bf16";
        } else if (key == "tf32") {
            if (!value.is_boolean()) refuse(origin, key, value, "true or false");
            settings.tf32 = value.get<bool>();
        } else {
            refuse_unknown(origin, key);
        }
    }
    require_usable(settings.grid, origin + ": patch", origin + ": stride");
}

/// A value of a configuration, as config_toml of apps/config writes it on one line, in JSON; discarded where it is
/// none.
json value_of(const std::string& name, const std::string& text) {
    if (name == "nan" && text == "\"refuse\"") return nullptr;
    constexpr std::string_view window = "{ window = ", end = " }";
    if (text.starts_with(window) && text.ends_with(end)) {
        const json bounds = parsed(text.substr(window.size(), text.size() - window.size() - end.size()));
        return bounds.is_discarded() ? bounds : json{{"window", bounds}};
    }
    return parsed(text);
}

/// The keys of files from before there was "prediction". Where one is not there either, it had its default.
json keys_of_config(const std::string& config, const std::string& origin) {
    json keys{{"intensity", "zscore"}, {"tf32", true}};
    for (std::size_t begin = 0; begin < config.size();) {
        const std::size_t end = std::min(config.find('\n', begin), config.size());
        const std::string line = config.substr(begin, end - begin);
        begin = end + 1;
        const std::size_t equals = line.find(" = ");
        std::string name = line.substr(0, equals);
        if (equals == std::string::npos || name.starts_with('['))
            refuse_line(origin, line, "but key = value was expected, as training writes it");
        if (name.starts_with("predict."))
            name.erase(0, std::string_view("predict.").size());
        else if (name == "patch")
            continue;  // of the training
        if (std::find(std::begin(kKeys), std::end(kKeys), name) == std::end(kKeys)) continue;
        keys[name] = value_of(name, line.substr(equals + 3));
        if (keys[name].is_discarded()) refuse_line(origin, line, "whose value cannot be read");
    }
    return keys;
}

std::vector<std::string> names_in(const std::string& text, const std::string& origin) {
    const json names = parsed(text);
    const auto is_name = [](const json& name) { return name.is_string(); };
    if (!names.is_array() || !std::all_of(names.begin(), names.end(), is_name))
        throw InputError(origin + ": channels is no list of names, as [\"FLAIR\", \"T1\"]");
    return names.get<std::vector<std::string>>();
}

OutputClasses classes_in(const std::string& text, const std::string& origin) {
    const json classes = parsed(text);
    OutputClasses read;
    const InputError wrong(
        origin + ": classes is " + shortened(text) +
        R"(, but {"regions": false, "names": ["background", "lesion"], "values": [0, 1]} was expected)");
    if (!classes.is_object() || !classes.contains("regions") || !classes["regions"].is_boolean()) throw wrong;
    read.regions = classes["regions"].get<bool>();
    for (const char* key : {"names", "values"})
        if (!classes.contains(key) || !classes[key].is_array()) throw wrong;
    for (const json& name : classes["names"]) {
        if (!name.is_string()) throw wrong;
        read.names.push_back(name.get<std::string>());
    }
    for (const json& value : classes["values"]) {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT32_MAX) throw wrong;
        read.values.push_back(value.get<std::int32_t>());
    }
    if (read.names.size() != read.values.size() || read.values.size() < (read.regions ? 1u : 2u)) throw wrong;
    return read;
}

}  // namespace

Metadata metadata_of(const PredictionSettings& settings) {
    json prediction{{"intensity", intensity_json(settings.intensity)},
                    {"nan", nullptr},
                    {"mask_channel", settings.mask_channel},
                    {"patch", settings.grid.patch},
                    {"stride", settings.grid.stride},
                    {"precision", settings.grid.bf16 ? "bf16" : "fp32"},
                    {"tf32", settings.tf32}};
    if (settings.nan) prediction["nan"] = *settings.nan;
    Metadata metadata{{"prediction", prediction.dump()}};
    if (!settings.channels.empty()) metadata["channels"] = json(settings.channels).dump();
    if (const OutputClasses& classes = settings.classes; !classes.values.empty())
        metadata["classes"] =
            json{{"regions", classes.regions}, {"names", classes.names}, {"values", classes.values}}.dump();
    return metadata;
}

PredictionSettings settings_in(const Metadata& metadata, const std::string& origin) {
    PredictionSettings settings;
    if (const auto written = metadata.find("prediction"); written != metadata.end()) {
        const json keys = parsed(written->second);
        const std::string where = origin + " (\"prediction\" in its metadata)";
        if (!keys.is_object()) throw InputError(where + " is no JSON object");
        for (const char* key : kKeys)
            if (!keys.contains(key)) throw InputError(where + " does not say " + key);
        read_keys(keys, where, settings);
    } else if (const auto config = metadata.find("config"); config != metadata.end()) {
        const std::string where = origin + " (\"config\" in its metadata)";
        read_keys(keys_of_config(config->second, where), where, settings);
    } else {
        throw InputError(origin +
                         " does not say how scans are read for it (\"prediction\" or \"config\" in its metadata): "
                         "metadata_of makes what is missing, and Predictor without from_file takes images as they are");
    }
    if (const auto names = metadata.find("channels"); names != metadata.end())
        settings.channels = names_in(names->second, origin);
    if (const auto classes = metadata.find("classes"); classes != metadata.end())
        settings.classes = classes_in(classes->second, origin);
    if (const auto point = metadata.find("operating_point"); point != metadata.end())
        settings.rule = parse_detection_rule(point->second, origin + " (\"operating_point\" in its metadata)");
    return settings;
}

PredictionSettings settings_of_file(const std::filesystem::path& weights) {
    Metadata metadata;
    read_safetensors_header(weights, &metadata);
    return settings_in(metadata, weights.string());
}

DetectionRule parse_detection_rule(const std::string& text, const std::string& origin) {
    const json point = parsed(text);
    const auto number = [&](const char* key) {
        return point.is_object() && point.contains(key) && point[key].is_number();
    };
    if (!number("threshold") || !number("min_volume"))
        throw InputError(origin +
                         " is not an operating point: {\"threshold\": 0.5, \"min_volume\": 0, …} was expected");
    const DetectionRule rule{point["threshold"].get<float>(), point["min_volume"].get<double>()};
    require_usable(rule, (origin + ": threshold").c_str(), (origin + ": min_volume").c_str());
    return rule;
}

}  // namespace iwseg
