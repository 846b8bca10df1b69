#include "apps/config/config.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "apps/config/config_keys.h"
#include "apps/config/config_values.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "data/class_scheme.h"
#include "data/lesion_labels.h"
#include "kernels/components/components.h"
#include "kernels/cpu/thread_count.h"
#include "losses/loss.h"
#include "models/grid_prediction.h"
#include "models/networks.h"

namespace iwseg {
namespace {

std::vector<std::string> known_keys() {
    std::vector<std::string> names;
    const Config config;
    for_each_key(config, [&](const char* name, const auto&, KeyText) { names.emplace_back(name); });
    return names;
}

std::string place(const std::string& origin, const toml::node& node) {
    const auto line = node.source().begin.line;
    return line > 0 && !origin.starts_with("--set") ? fmt::format("{}, line {}", origin, line) : origin;
}

/// Sets the one key; whether there is one of that name.
bool set_key(Config& config, const std::string& key, const toml::node& node, const std::string& origin) {
    bool found = false;
    for_each_key(config, [&](const char* name, auto& value, KeyText) {
        if (key != name) return;
        found = true;
        auto parsed = value;
        if (!read(node, parsed))
            throw InputError(fmt::format("{}: {} is {}, but {} was expected", place(origin, node), key, written(node),
                                         expected(value)));
        value = parsed;
    });
    return found;
}

void apply_table(Config& config, const toml::table& table, const std::string& prefix, const std::string& origin);

/// A name, or a table of lists: whichever comes last counts. Throws where it is neither.
bool apply_split(Config& config, const toml::node& node, const std::string& origin) {
    if (const toml::table* table = node.as_table()) {
        config.split_name.clear();
        apply_table(config, *table, "split.", origin);
        return true;
    }
    if (!node.is_string())
        throw InputError(
            fmt::format("{}: split is {}, but the name of a split or a table was expected, as in "
                        "{{train = [\"a\"]}}",
                        place(origin, node), written(node)));
    config.split = {};
    config.split_name = node.as_string()->get();
    return true;
}

void apply_table(Config& config, const toml::table& table, const std::string& prefix, const std::string& origin) {
    const std::vector<std::string> known = known_keys();
    for (const auto& [name, node] : table) {
        const std::string key = prefix + std::string(name.str());
        if (key == "split" ? apply_split(config, node, origin) : set_key(config, key, node, origin)) continue;
        const bool is_group = std::any_of(known.begin(), known.end(),
                                          [&](const std::string& word) { return word.starts_with(key + "."); });
        if (is_group && node.is_table()) {
            apply_table(config, *node.as_table(), key + ".", origin);
            continue;
        }
        if (is_group)
            throw InputError(fmt::format("{}: {} is {}, but a table was expected, as in {}", place(origin, node), key,
                                         written(node),
                                         key == "predict" ? "{patch = 160, stride = 144}" : "{flip = true}"));
        const std::string nearest = nearest_name(key, known);
        throw InputError(fmt::format(
            "{}: unknown key {}{}", place(origin, node), key,
            nearest.empty() ? "; iwseg train --keys lists the known ones" : "; did you mean " + nearest + "?"));
    }
}

toml::table parse(const std::string& text, const std::string& origin) {
    try {
        return toml::parse(text);
    } catch (const toml::parse_error& error) {
        throw InputError(
            fmt::format("{}, line {}: not valid TOML: {}", origin, error.source().begin.line, error.description()));
    }
}

bool is_bare_word(const std::string& text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return std::isalnum(c) ||
               std::string_view("_-./:+*@(),= ").find(static_cast<char>(c)) != std::string_view::npos;
    });
}

void require(bool good, const std::string& key, const std::string& value, const std::string& rule) {
    if (!good) throw InputError(fmt::format("{} = {} is not usable: {}", key, value, rule));
}

template <class T>
void require_above(const char* key, T value, T bound) {
    require(value > bound, key, written(value), fmt::format("it must be above {}", bound));
}

template <class T>
void require_within(const char* key, T value, T low, T high) {
    require(value >= low && value <= high, key, written(value), fmt::format("it must be from {} to {}", low, high));
}

void require_within(const char* key, double value, const LossOptions::Range& range) {
    require_within(key, value, range.low, range.high);
}

void require_one_of(const char* key, const std::string& value, const std::vector<std::string>& words) {
    if (std::find(words.begin(), words.end(), value) != words.end()) return;
    throw InputError(fmt::format("{} = \"{}\" is unknown: expected {}", key, value, fmt::join(words, " or ")));
}

void check_patch(const Config& c) {
    constexpr std::int64_t limit = 4096;
    const Network network = make_network(c.network, 1, c.widths);
    const int divisor = network.divisor;
    require(!c.deep_supervision || network.with_heads, "deep_supervision", "true",
            "it is for plain_unet and residual_encoder_unet of three widths or more");
    for (const std::int64_t side : c.patch)
        require(side > 0 && side % divisor == 0 && side <= limit, "patch", written(c.patch),
                fmt::format("each side must be a positive multiple of {}, at most 4096", divisor));
    // Normalisation of the deepest level has nothing to normalise over when it sees a single voxel: batch normalisation
    // of all patches, instance normalisation of one.
    const bool by_batch = c.network == "unet";
    const std::int64_t deepest = (c.patch[0] / divisor) * (c.patch[1] / divisor) * (c.patch[2] / divisor);
    require((by_batch ? c.batch : 1) * deepest > 1, "patch", written(c.patch),
            fmt::format("{}it must be larger than {} x {} x {}", by_batch ? "with batch = 1 " : "", divisor, divisor,
                        divisor));
    require(c.batch * c.patch[0] * c.patch[1] * c.patch[2] < std::int64_t{1} << 31, "patch", written(c.patch),
            "a batch must have fewer than 2^31 voxels");
    require_usable(GridOptions{c.predict.patch, c.predict.stride}, "predict.patch", "predict.stride");
}

}  // namespace

double Config::learning_rate_at(std::int64_t step) const {
    double rate = learning_rate;
    for (const LearningRateDrop& drop : lr_schedule)
        if (step / steps_per_epoch >= drop.epoch) rate *= drop.factor;
    return rate;
}

void apply_toml(Config& config, const std::string& text, const std::string& origin) {
    apply_table(config, parse(text, origin), "", origin);
}

void apply_setting(Config& config, const std::string& setting) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
        throw InputError("--set " + setting + ": expected key=value, as in --set loss=iwdl");
    const std::string key = setting.substr(0, equals), value = setting.substr(equals + 1);
    const std::string origin = "--set " + setting;
    toml::table table;
    try {
        table = toml::parse(setting);
    } catch (const toml::parse_error&) {
        if (!is_bare_word(value)) throw InputError(origin + ": " + value + " is not a TOML value");
        table = parse(key + " = \"" + value + "\"", origin);
    }
    apply_table(config, table, "", origin);
}

void check_config(const Config& c) {
    loss_from_name(c.loss);
    require_within("focal_alpha", c.focal_alpha, LossOptions::kFocalAlphaRange);
    require_within("focal_gamma", c.focal_gamma, LossOptions::kFocalGammaRange);
    require_within("asl_beta", c.asl_beta, LossOptions::kAslBetaRange);
    require_one_of("precision", c.precision, {"fp32", "bf16"});
    require_one_of("network", c.network, network_names());
    require(c.network != "unet" || c.widths.size() == 4, "widths", written(c.widths),
            "it takes four whole numbers, one a level");
    require(c.widths.size() >= 2 && c.widths.size() <= 9, "widths", written(c.widths),
            "it takes from two to nine whole numbers, one a level");
    for (const int width : c.widths)
        require(width > 0 && width <= 4096, "widths", written(c.widths), "each must be from 1 to 4096");
    require_within("batch", c.batch, 1, 4096);
    check_patch(c);
    require_within("epochs", c.epochs, 1, 1'000'000);
    require_within("steps_per_epoch", c.steps_per_epoch, 1, 1'000'000);
    require(c.learning_rate > 0 && std::isfinite(c.learning_rate), "learning_rate", written(c.learning_rate),
            "it must be above 0");
    for (const LearningRateDrop& drop : c.lr_schedule)
        require(drop.epoch >= 0 && drop.factor > 0 && std::isfinite(drop.factor), "lr_schedule", written(c.lr_schedule),
                "epochs must not be negative and factors must be above 0");
    require(c.momentum >= 0 && c.momentum < 1, "momentum", written(c.momentum), "it must be from 0 to below 1");
    require_one_of("optimizer", c.optimizer, {"sgd", "adamw"});
    for (const double beta : c.adam_betas)
        require(beta >= 0 && beta < 1, "adam_betas", written(c.adam_betas), "each must be from 0 to below 1");
    require_within("weight_decay", c.weight_decay, 0.0, 1.0);
    require_within("accumulate", c.accumulate, 1, 10'000);
    require(c.clip_norm >= 0 && std::isfinite(c.clip_norm), "clip_norm", written(c.clip_norm),
            "it must not be negative");
    require(c.weight_average >= 0 && c.weight_average < 1, "weight_average", written(c.weight_average),
            "it must be from 0 to below 1");
    require(c.optimizer != "sgd" || !c.nesterov || c.momentum > 0, "nesterov", "true", "it needs a momentum above 0");
    require_within("nonzero_fraction", c.nonzero_fraction, 0.0, 1.0);
    require_one_of("components", c.components, {"volume", "patch"});
    require(is_connectivity(c.connectivity), "connectivity", written(c.connectivity), "it must be 6, 18 or 26");
    require(c.weight_clip[0] > 0 && c.weight_clip[0] <= c.weight_clip[1] && std::isfinite(c.weight_clip[1]),
            "weight_clip", written(c.weight_clip), "it must be [low, high] with 0 < low <= high");
    require(c.seed <= std::uint64_t{INT64_MAX}, "seed", written(c.seed), "it must be below 2^63");
    require(
        c.intensity.kind != Intensity::Kind::window ||
            (std::isfinite(c.intensity.low) && std::isfinite(c.intensity.high) && c.intensity.low < c.intensity.high),
        "intensity", written(c.intensity), "the window must be [lo, hi] with lo < hi");
    require(!c.nan || std::abs(*c.nan) <= std::numeric_limits<float>::max(), "nan", written(c.nan),
            "it must be a finite number, as in nan = 0, or \"refuse\"");
    require(c.small_diameter >= 0 && std::isfinite(c.small_diameter), "small_diameter", written(c.small_diameter),
            "it must not be negative");
    for (const int label : c.labels) require_above("labels", label, 0);
    require(c.labels.empty() || (c.classes.empty() && c.regions.empty()), "labels", written(c.labels),
            "classes and regions say which values are lesion");
    // Those that the dataset names are checked when it is there.
    if (!are_of_dataset(c.classes) && !are_of_dataset(c.regions)) ClassScheme(c.classes, c.regions, {});
    require(c.split == Split{} || !c.split.train.empty(), "split.train", "[]",
            "a split needs at least one case to train");
    require_within("fold", c.fold, 0, 1'000'000);
    require(c.fold == 0 || (c.split_name.empty() && c.split == Split{}), "fold", written(c.fold),
            "split names the cases already, and folds are those of splits_final.json");
    require_within("validate_every", c.validate_every, 0, 1'000'000'000);
    require_within("validate_share", c.validate_share, 0.0, 1.0);
    require_within("checkpoint_every", c.checkpoint_every, 0, 1'000'000'000);
    require_within("workers", c.workers, 0, 256);
    require_within("threads", c.threads, 0, kMostThreads);
}

namespace {

std::optional<std::filesystem::path> base_in(const toml::table& table, const std::filesystem::path& file) {
    const toml::node* base = table.get("base");
    if (!base) return std::nullopt;
    if (!base->is_string())
        throw InputError(fmt::format("{}: base is {}, but a file was expected, as in \"base.toml\"",
                                     place(file.string(), *base), written(*base)));
    return file.parent_path() / base->as_string()->get();
}

/// Sets the keys of the files it builds on, then its own.
void apply_file(Config& config, const std::filesystem::path& file, std::vector<std::filesystem::path> above = {}) {
    // A pipe has no canonical path, and cannot build on itself.
    std::error_code no_path;
    std::filesystem::path real = std::filesystem::weakly_canonical(file, no_path);
    if (no_path) real = file;
    if (std::find(above.begin(), above.end(), real) != above.end())
        throw InputError(file.string() + " builds on itself, through its key base");
    above.push_back(real);
    toml::table table = parse(read_text(file), file.string());
    if (const auto base = base_in(table, file)) apply_file(config, *base, above);
    table.erase("base");
    apply_table(config, table, "", file.string());
}

}  // namespace

std::optional<std::filesystem::path> base_of(const std::filesystem::path& file) {
    return base_in(parse(read_text(file), file.string()), file);
}

Config resolve_config(const std::optional<std::filesystem::path>& file, const std::vector<std::string>& settings,
                      const Config& base) {
    Config config = base;
    if (file) apply_file(config, *file);
    for (const std::string& setting : settings) apply_setting(config, setting);
    config.loss = loss_from_name(config.loss).name;  // one spelling: "dice+ce" is the loss of a run with "dice + ce"
    check_config(config);
    return config;
}

std::string config_toml(const Config& config) {
    std::string text;
    for_each_key(config, [&](const char* name, const auto& value, KeyText) {
        // A key cannot be a name and a table at once.
        const std::string_view key = name;
        if (config.split_name.empty() ? key == "split" : key.starts_with("split.")) return;
        // A run of one class is written as it was before there were several.
        if ((key == "classes" && config.classes.empty()) || (key == "regions" && config.regions.empty())) return;
        text += fmt::format("{} = {}\n", name, written(value));
    });
    return text;
}

std::vector<std::string> differing_keys(const Config& a, const Config& b) {
    std::map<std::string, std::string> values;
    std::vector<std::string> names;
    for_each_key(a, [&](const char* name, const auto& value, KeyText) { values[name] = written(value); });
    for_each_key(b, [&](const char* name, const auto& value, KeyText) {
        if (values[name] != written(value)) names.emplace_back(name);
    });
    return names;
}

}  // namespace iwseg
