#include "apps/prediction/case_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "apps/terminal/interrupt.h"
#include "apps/terminal/progress.h"
#include "base/error.h"

namespace iwseg {

namespace fs = std::filesystem;

std::vector<Case> unfinished(const std::vector<Case>& cases, const std::vector<TrainedNetwork>& networks,
                             const PredictionOptions& options,
                             const std::function<std::vector<fs::path>(const Case&)>& files) {
    const auto is_there = [&](const fs::path& file) {
        if (options.is_current) return fs::exists(file);
        return std::all_of(networks.begin(), networks.end(),
                           [&](const TrainedNetwork& network) { return is_newer(file, network.weights); });
    };
    std::vector<Case> left;
    for (const Case& scan : cases) {
        const std::vector<fs::path> wanted = files(scan);
        const bool finished = options.skip_finished && std::all_of(wanted.begin(), wanted.end(), is_there) &&
                              (!options.is_current || options.is_current(scan));
        if (!finished) left.push_back(scan);
    }
    return left;
}

void print_case(const Case& scan, std::size_t number, std::size_t all, const Extent& shape) {
    const auto [d, h, w] = shape;
    fmt::print("predict  {} ({} of {}), {} x {} x {} voxels\n", scan.name, number + 1, all, d, h, w);
    std::fflush(stdout);
}

void with_progress(const Case& scan, const std::function<void(const PatchProgress&)>& predict) {
    std::optional<Progress> progress;
    try {
        predict([&](std::int64_t done, std::int64_t all) {
            if (InterruptGuard::requested()) throw Interrupted("interrupted while predicting " + scan.name);
            if (!progress) progress.emplace("predict " + scan.name, all, "patches");
            progress->update(done);
        });
    } catch (const InputError& error) {
        throw InputError(
            fmt::format("case {} ({}) cannot be predicted: {}", scan.name, scan.images.front().string(), error.what()));
    }
}

void predict_one_by_one(const Dataset& dataset, const std::vector<Case>& cases, const PredictionOptions& options,
                        const PreparationOptions& reading, const CasePrediction& prediction) {
    std::vector<MemoryNeed> needs;
    for (const Case& scan : cases) needs.push_back(prediction.need(scan));
    fmt::print("{}", memory_sentence(needs, "predicting"));
    const InterruptGuard guard;
    ReplacedVoxels replaced;
    for (std::size_t i = 0; i < cases.size(); ++i) {
        if (options.reading) options.reading(cases[i]);
        PreparedCase scan = prepare_case(dataset, cases[i], reading);
        replaced.add(scan);
        print_case(cases[i], i, cases.size(), scan.geometry.shape);
        prediction.predict(cases[i], std::move(scan));
        if (options.written) options.written(cases[i]);
    }
    fmt::print("{}", replaced.line(reading));
}

}  // namespace iwseg
