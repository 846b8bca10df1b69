#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/config/config.h"

namespace iwseg {

/// One configuration file of a study, named as the file without its ending.
struct Experiment {
    std::string name;
    std::filesystem::path file;
    Config config;
};

/// The experiments of a folder's *.toml files, those left out that others name as their base, each with the settings
/// over it. Ordered as the paper's table: by loss (bce, iwbce, wce, dl, iwdl, gdl, asl, iwasl, fl, iwfl), by
/// focal_alpha, by name. Throws InputError where the folder holds none or one of them cannot be read.
std::vector<Experiment> list_experiments(const std::filesystem::path& folder, const std::vector<std::string>& settings);

struct ExperimentsOptions {
    std::filesystem::path data;     ///< dataset folder
    std::filesystem::path configs;  ///< folder of *.toml
    std::filesystem::path out;      ///< holds a run folder for each experiment, and the summary
    std::vector<std::string> settings;
    std::string device = "auto";
    int index = -1;     ///< of the one to run, from 0; -1: all
    int processes = 1;  ///< that share the experiments; on GPUs each takes one of the visible ones
};

/// Runs what is not there yet, one experiment after another; those that another process is at are left to it. Then
/// writes the summary (apps/experiments/experiments_summary.h, of several classes class_summary.h) of all that are
/// finished. One that fails does not keep
/// the others from being run: what went wrong is said at once and again at the end, as a std::runtime_error. Throws
/// Interrupted on Ctrl-C.
void run_experiments(const ExperimentsOptions& options);

}  // namespace iwseg
