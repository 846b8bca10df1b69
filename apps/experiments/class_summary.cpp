#include "apps/experiments/class_summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apps/evaluation/evaluation_run.h"
#include "apps/report/class_report.h"
#include "apps/run_folder/run_files.h"
#include "apps/training/training_run.h"
#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::string classes_text(const Config& config) {
    if (!config.classes.empty()) return "classes = \"" + config.classes + "\"";
    return config.regions.empty() ? "one class" : "regions = \"" + config.regions + "\"";
}

/// Whether there are records of each class: a run may have been begun with others.
bool has_records(const fs::path& run, const ClassScheme& classes) {
    const RunFiles files(run);
    return std::all_of(classes.classes().begin(), classes.classes().end(),
                       [&](const LabelClass& one) { return fs::exists(files.of_class(one.name).records()); });
}

}  // namespace

void require_same_classes(const std::vector<Experiment>& experiments) {
    const Experiment& first = experiments.front();
    for (const Experiment& one : experiments)
        if (classes_text(one.config) != classes_text(first.config))
            throw InputError(fmt::format(
                "{} has {}, {} has {}: they cannot be compared in one table; expected the same in all of one folder",
                first.file.string(), classes_text(first.config), one.file.string(), classes_text(one.config)));
}

bool is_evaluated(const fs::path& run) {
    const RunFiles files(run);
    return fs::exists(files.records()) || fs::exists(files.classes() / kMetricsFile);
}

void write_class_summary(const fs::path& data, const fs::path& out, const std::vector<Experiment>& experiments) {
    const ClassScheme classes = class_scheme(experiments.front().config, open_dataset(data));
    std::vector<RunForReport> runs;
    std::vector<std::string> missing;
    for (const Experiment& one : experiments)
        if (has_records(out / one.name, classes))
            runs.push_back({one.name, out / one.name});
        else
            missing.push_back(one.name);
    if (runs.empty()) {
        fmt::print("\nno experiment is finished\n");
        return;
    }
    const fs::path page = out / "experiments.html";
    fmt::print("\n{}", write_class_report(data, runs, classes.classes(), page));
    if (!missing.empty()) fmt::print("Not finished: {}\n", fmt::join(missing, ", "));
    fmt::print("summary  {}\n", page.string());
}

}  // namespace iwseg
