#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/sampling.h"

namespace iwseg {

/// From this epoch on (the first is 0) the learning rate is multiplied by the factor.
struct LearningRateDrop {
    int epoch = 0;
    double factor = 1;

    bool operator==(const LearningRateDrop&) const = default;
};

/// Every key of a training's TOML file, with its default (docs/design.md, section 9). Keys of nested structs are
/// dotted: predict.patch.
struct Config {
    std::string loss = "iwdl";
    double focal_alpha = 0.75, focal_gamma = 2.0, asl_beta = 1.5;
    std::string precision = "fp32";  ///< or bf16
    std::string network = "unet";    ///< models/networks.h
    bool deep_supervision = false;   ///< the network with heads, where it has them
    std::vector<int> widths{16, 64, 128, 256};
    std::array<std::int64_t, 3> patch{128, 128, 128};  ///< voxels, multiples of 8; one number is a cube
    int batch = 2;
    int epochs = 100, steps_per_epoch = 100;
    double learning_rate = 1e-2;
    std::vector<LearningRateDrop> lr_schedule{{80, 0.1}};
    double momentum = 0.9;
    bool nesterov = true;
    double weight_decay = 0;
    std::string optimizer = "sgd";  ///< or adamw
    std::array<double, 2> adam_betas{0.9, 0.999};
    int accumulate = 1;                 ///< batches a step
    double clip_norm = 0;               ///< 0: gradients are left as they are
    double weight_average = 0;          ///< decay of the weights' moving average; 0: none
    double nonzero_fraction = 0.5;      ///< patches centred on a lesion's voxel
    std::string components = "volume";  ///< or patch
    int connectivity = 26;              ///< 6, 18 or 26
    std::array<double, 2> weight_clip{1, 2e5};
    std::uint64_t seed = 0xBadCafe;
    std::vector<std::string> channels;             ///< names or numbers from 0; empty: all
    Intensity intensity{Intensity::Kind::zscore};  ///< "none", "zscore" or {window = [lo, hi]}
    std::optional<double> nan;                     ///< what voxels become that are not finite; none: they are refused
    std::string mask_channel;                      ///< name or number of a channel that is a mask; empty: none
    std::vector<int> labels;                       ///< label values that are lesions; empty: any above 0
    std::string classes;  ///< "edema=1, tumour=2+3": told apart; empty: lesions are of no class
    std::string regions;  ///< the same of classes that may share values
    struct Predict {
        std::int64_t patch = 160, stride = 144;
    } predict;
    Augmentation augment;         ///< {flip, rotate}
    double small_diameter = 0;    ///< voxels: lesions up to it are evaluated apart; 0: the smaller half
    std::string split_name;       ///< split = "NAME": one that the dataset names in splits.json
    Split split;                  ///< case names; both empty: the dataset's split, else a seeded one
    int fold = 0;                 ///< of splits_final.json, from 0
    int validate_every = 0;       ///< steps; 0: once an epoch
    double validate_share = 0.2;  ///< of the training's work that passes may take; 0: no validation
    int checkpoint_every = 0;     ///< steps; 0: once an epoch
    int workers = 0;              ///< threads that load patches; 0: chosen by the processor
    int threads = 0;              ///< threads that compute; 0: as kernels/cpu/thread_count.h says
    bool deterministic = true;
    bool tf32 = true;  ///< on a GPU, of fp32: convolutions round operands to 10 bits of fraction

    std::int64_t steps() const { return std::int64_t{epochs} * steps_per_epoch; }
    std::int64_t steps_between_checkpoints() const { return checkpoint_every > 0 ? checkpoint_every : steps_per_epoch; }
    /// The rate of a step (from 0).
    double learning_rate_at(std::int64_t step) const;
};

/// Sets the keys that the TOML text names and leaves the others. origin stands for the text in messages. Throws
/// InputError on bad TOML, on an unknown key (naming the nearest) and on a value of a wrong type.
void apply_toml(Config& config, const std::string& text, const std::string& origin);
/// One `key=value` of the command line: a TOML value, or a string without quotes.
void apply_setting(Config& config, const std::string& setting);

/// Throws InputError, naming the key, on a value that cannot be used.
void check_config(const Config& config);

/// The file that a configuration file names as the one it builds on: `base = "base.toml"`, relative to its own folder.
/// Throws InputError where the file cannot be read.
std::optional<std::filesystem::path> base_of(const std::filesystem::path& file);

/// The base with the keys of the file's own base and then of the file, then the settings, checked.
Config resolve_config(const std::optional<std::filesystem::path>& file, const std::vector<std::string>& settings,
                      const Config& base = {});

/// Every key as TOML; reading it back gives the same Config.
std::string config_toml(const Config& config);
/// Keys whose values differ.
std::vector<std::string> differing_keys(const Config& a, const Config& b);

}  // namespace iwseg
