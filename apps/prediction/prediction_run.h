#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/config/config.h"
#include "apps/prediction/mask_rules.h"
#include "data/dataset.h"
#include "engine/context.h"
#include "engine/parameters.h"
#include "models/class_decision.h"
#include "models/network.h"

namespace iwseg {

/// Weights and how scans are read for them.
struct TrainedNetwork {
    std::filesystem::path weights;
    Network architecture;
    Config config;
    std::vector<std::string> channels = {};  ///< names of those trained on, in order; empty: the file does not tell
    std::optional<OperatingPoint> operating_point = {};  ///< that was chosen for these weights
    OutputClasses classes = {};                          ///< of a network of several
    bool configured =
        true;  ///< false: neither a config was given nor does the file hold one; scans are read as they are
};

/// Looks at a weights file: widths and channels from its arrays, the configuration from the given file, else from its
/// metadata, else none. Throws InputError where file and configuration do not fit.
TrainedNetwork open_network(const std::filesystem::path& weights, const std::optional<std::filesystem::path>& config);

/// Windows as nnU-Net predicts by (models/sliding_window.h): patches count by a Gaussian.
struct WindowOptions {
    double step = 0.5;    ///< between patches at most, as a share of their side
    bool mirror = false;  ///< the mean of the patch mirrored along all combinations of axes: eight times the work
};

struct PredictionOptions {
    std::filesystem::path out;
    /// Which of CASE_{mask,prob,logit} to write; of several classes the labels CASE and CLASS/CASE_{prob,logit}.
    bool mask = true, probability = true, logit = true;
    std::string ending{};  ///< of their names, which tells the format; empty: that of the scan (prediction_ending)
    std::int64_t patch = 160, stride = 144;
    std::optional<WindowOptions> windows = {};  ///< in place of the stride; of several classes there are always some
    MaskOptions masks = {};                     ///< what is asked of them beside the networks' operating points
    bool skip_finished = false;                 ///< leave cases alone whose files are there and newer than the weights
    std::function<bool(const Case&)> is_current = {};  ///< decides in place of that, where files are there
    std::function<void(const Case&)> reading = {};     ///< called before a case's scans are read
    std::function<void(const Case&)> written = {};     ///< called once a case's files are
};

/// Predicts the cases one after another, by the mean of the networks where there are several
/// (apps/prediction/ensemble.h), and writes their volumes. Says before the work what memory it takes. Throws InputError
/// on bad scans, on networks that are not alike, where memory does not suffice, or where weights or a result are not
/// finite, which is found before anything of the scan is written; Interrupted on Ctrl-C.
void predict_cases(Context& context, const std::vector<TrainedNetwork>& networks, const Dataset& dataset,
                   const std::vector<Case>& cases, const PredictionOptions& options);

/// The named cases; where no names are given, the scans to test on if split_file exists, else every scan.
std::vector<Case> choose_cases(const Dataset& dataset, const std::vector<std::string>& names,
                               const std::filesystem::path& split_file);

/// The scans to test on of a run folder's split.json; none where it has no such file.
std::vector<std::string> own_test_scans(const std::filesystem::path& run);

/// Whether the file is there and not older than what it was made from.
bool is_newer(const std::filesystem::path& file, const std::filesystem::path& source);

}  // namespace iwseg
