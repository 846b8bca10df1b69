#include "apps/prediction/ensemble.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/config/config_keys.h"
#include "apps/run_folder/run_files.h"
#include "apps/training/training_run.h"
#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

void add(Prediction& sum, const Prediction& one) {
    for (std::size_t v = 0; v < sum.logit.size(); ++v) sum.logit[v] += one.logit[v];
    for (std::size_t v = 0; v < sum.probability.size(); ++v) sum.probability[v] += one.probability[v];
}

void divide(Prediction& sum, std::size_t count) {
    for (auto* values : {&sum.logit, &sum.probability})
        for (float& value : *values) value /= static_cast<float>(count);
}

}  // namespace

void require_alike(const std::vector<TrainedNetwork>& networks) {
    const TrainedNetwork& first = networks.front();
    for (const TrainedNetwork& other : networks) {
        const auto refuse = [&](const std::string& what) {
            throw InputError(fmt::format("{} and {} cannot be averaged: they have another {}", first.weights.string(),
                                         other.weights.string(), what));
        };
        if (other.architecture.name != first.architecture.name) refuse("network");
        if (other.architecture.widths != first.architecture.widths) refuse("widths");
        if (other.architecture.in_channels != first.architecture.in_channels || other.channels != first.channels)
            refuse("channels");
        for (const std::string& key : differing_keys(first.config, other.config))
            if (says_how_scans_are_read(key)) refuse(key);
    }
}

std::string other_grids(const std::vector<TrainedNetwork>& networks) {
    const Config::Predict& first = networks.front().config.predict;
    for (const TrainedNetwork& network : networks)
        if (const auto& grid = network.config.predict; grid.patch != first.patch || grid.stride != first.stride)
            return fmt::format("predict.patch and predict.stride differ: {} and {} of {}, {} and {} of {}", first.patch,
                               first.stride, networks.front().weights.string(), grid.patch, grid.stride,
                               network.weights.string());
    return "";
}

SlidingWindowOptions windows_of(const TrainedNetwork& network, const PredictionOptions& options) {
    SlidingWindowOptions windows =
        windows_of(network.architecture, {options.patch, options.stride, network.config.precision == "bf16"});
    if (!options.windows) return windows;
    windows.step = options.windows->step;
    if (options.windows->mirror) windows.mirror = {0, 1, 2};
    return windows;
}

EnsemblePredictor::EnsemblePredictor(Context& context, const std::vector<TrainedNetwork>& networks,
                                     const PredictionOptions& options)
    : networks_(networks.size()) {
    const TrainedNetwork& first = networks.front();
    if (options.windows) {
        window_.emplace(context, first.architecture, windows_of(first, options));
        for (const TrainedNetwork& network : networks)
            window_->add_weights([&](Parameters& held) { held.load(network.weights); });
        return;
    }
    grid_.emplace(context, parameters_, first.architecture,
                  GridOptions{options.patch, options.stride, first.config.precision == "bf16"});
    for (const TrainedNetwork& network : networks) {
        parameters_.load(network.weights);
        if (networks_ == 1) return;
        std::vector<float>& held = weights_.emplace_back();
        std::int64_t elements = 0;
        for (int i = 0; i < parameters_.size(); ++i) elements += parameters_[{i}].elements;
        held.reserve(static_cast<std::size_t>(elements));
        for (int i = 0; i < parameters_.size(); ++i)
            held.insert(held.end(), parameters_.value({i}), parameters_.value({i}) + parameters_[{i}].elements);
    }
    used_ = networks_ - 1;
}

void EnsemblePredictor::use(std::size_t network) {
    if (used_ == network) return;
    const float* from = weights_[network].data();
    for (int i = 0; i < parameters_.size(); ++i) {
        std::copy_n(from, parameters_[{i}].elements, parameters_.value({i}));
        from += parameters_[{i}].elements;
    }
    parameters_.upload();
    used_ = network;
}

std::int64_t EnsemblePredictor::patches(std::int64_t d, std::int64_t h, std::int64_t w) const {
    if (window_) return window_->patches({d, h, w});
    return grid_->patches(d, h, w) * static_cast<std::int64_t>(networks_);
}

Prediction EnsemblePredictor::predict(const float* image, std::int64_t d, std::int64_t h, std::int64_t w,
                                      const PatchProgress& progress) {
    if (window_) return predict_by_windows(image, {d, h, w}, progress);
    Prediction sum;
    const std::int64_t of_one = grid_->patches(d, h, w), all = patches(d, h, w);
    for (std::size_t i = 0; i < networks_; ++i) {
        use(i);
        const std::int64_t before = of_one * static_cast<std::int64_t>(i);
        Prediction one = grid_->predict(image, d, h, w, [&](std::int64_t done, std::int64_t) {
            if (progress) progress(before + done, all);
        });
        if (i == 0)
            sum = std::move(one);
        else
            add(sum, one);
    }
    if (networks_ > 1) divide(sum, networks_);
    return sum;
}

Prediction EnsemblePredictor::predict_by_windows(const float* image, const Extent& shape,
                                                 const PatchProgress& progress) {
    const std::int64_t plane = shape[1] * shape[2];
    Prediction made;
    made.logit.resize(static_cast<std::size_t>(shape[0] * plane));
    made.probability.resize(made.logit.size());
    window_->predict(
        image, shape,
        [&](std::int64_t d, const float* logits) {
            for (std::int64_t v = 0; v < plane; ++v) {
                const auto at = static_cast<std::size_t>(d * plane + v);
                made.logit[at] = logits[v];
                made.probability[at] = 1 / (1 + std::exp(-logits[v]));
            }
        },
        progress);
    return made;
}

std::vector<Case> cases_not_trained_on(const Dataset& dataset, const std::vector<fs::path>& runs) {
    std::set<std::string> trained;
    for (const fs::path& run : runs) {
        const std::vector<std::string> names = read_split(RunFiles(run).split()).train;
        trained.insert(names.begin(), names.end());
    }
    std::vector<Case> cases;
    for (const auto* list : {&dataset.cases, &dataset.test_cases})
        std::copy_if(list->begin(), list->end(), std::back_inserter(cases),
                     [&](const Case& scan) { return !trained.contains(scan.name); });
    const std::size_t left_out = dataset.cases.size() + dataset.test_cases.size() - cases.size();
    if (cases.empty())
        throw InputError(
            fmt::format("each of the {} cases of {} was trained on by one of the networks: name those to "
                        "predict all the same by --cases",
                        left_out, dataset.folder.string()));
    return cases;
}

}  // namespace iwseg
