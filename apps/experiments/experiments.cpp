#include "apps/experiments/experiments.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <tuple>

#include "apps/experiments/class_summary.h"
#include "apps/experiments/experiment_processes.h"
#include "apps/experiments/experiment_run.h"
#include "apps/experiments/experiments_summary.h"
#include "apps/terminal/interrupt.h"
#include "apps/training/run_context.h"
#include "apps/training/training_run.h"
#include "base/error.h"
#include "base/folder.h"
#include "losses/loss.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> toml_files(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
        if (entry.path().extension() == ".toml") files.push_back(entry.path());
    if (error) throw InputError("the folder " + folder.string() + " cannot be listed: " + error.message());
    std::sort(files.begin(), files.end());
    return files;
}

/// Runs one, unless another process is at it.
void run_one(const ExperimentsOptions& options, const Experiment& experiment) {
    try {
        const RunFolder run(options.out / experiment.name);
        const Config config = config_of_run(run, experiment.file, options.settings, true);
        Context context(context_of_run(config, options.device, run));
        run_experiment(context, config, options.data, run);
        write_report_of_run(experiment.name, options.data, run, "../experiments.html");
    } catch (const RunFolderInUse&) {
        fmt::print("left to the process that is at it\n");
    }
}

}  // namespace

std::vector<Experiment> list_experiments(const fs::path& folder, const std::vector<std::string>& settings) {
    const std::vector<fs::path> files = toml_files(folder);
    std::set<fs::path> bases;
    for (const fs::path& file : files)
        if (const std::optional<fs::path> base = base_of(file)) bases.insert(fs::weakly_canonical(*base));
    std::vector<Experiment> experiments;
    for (const fs::path& file : files)
        if (!bases.contains(fs::weakly_canonical(file)))
            experiments.push_back({file.stem().string(), file, resolve_config(file, settings)});
    if (experiments.empty())
        throw InputError("the folder " + folder.string() + " holds no experiment: *.toml was expected");
    const auto rank = [](const Experiment& one) {
        const auto& losses = loss_names();
        return std::tuple(std::find(losses.begin(), losses.end(), one.config.loss) - losses.begin(),
                          one.config.focal_alpha, one.name);
    };
    std::sort(experiments.begin(), experiments.end(),
              [&](const Experiment& a, const Experiment& b) { return rank(a) < rank(b); });
    return experiments;
}

void run_experiments(const ExperimentsOptions& options) {
    std::vector<Experiment> experiments = list_experiments(options.configs, options.settings);
    const std::vector<Experiment> all = experiments;
    const auto count = static_cast<int>(all.size());
    if (options.index >= count)
        throw InputError(fmt::format("--index {} is above the last of {} experiments, which is {}", options.index,
                                     count, count - 1));
    if (options.index >= 0) experiments = {all[static_cast<std::size_t>(options.index)]};
    require_same_classes(all);
    make_folder(options.out);
    std::string failures;
    if (options.processes > 1) {
        failures = run_in_processes(options, experiments);
    } else {
        for (const Experiment& experiment : experiments) {
            fmt::print("\n{} ({})\n", experiment.name, experiment.file.string());
            try {
                run_one(options, experiment);
            } catch (const Interrupted&) {
                throw;
            } catch (const std::exception& error) {
                fmt::print("{} failed: {}\n", experiment.name, error.what());
                failures += fmt::format("{}{}: {}", failures.empty() ? "" : "; ", experiment.name, error.what());
            }
            std::fflush(stdout);
        }
    }
    {
        const FolderLock lock(options.out);  // another process may have come to its end too
        const Config& config = all.front().config;
        try {
            if (config.classes.empty() && config.regions.empty())
                write_summary(options.out, all);
            else
                write_class_summary(options.data, options.out, all);
        } catch (const std::exception& error) {
            failures += fmt::format("{}the summary: {}", failures.empty() ? "" : "; ", error.what());
        }
    }
    if (!failures.empty()) throw std::runtime_error(failures);
}

}  // namespace iwseg
