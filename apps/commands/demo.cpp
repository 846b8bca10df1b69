#include "apps/commands/demo.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/commands/commands.h"
#include "apps/commands/demo_config.h"
#include "apps/experiments/experiment_run.h"
#include "apps/report/equal_rate.h"
#include "apps/report/report.h"
#include "apps/report/report_data.h"
#include "apps/report/report_results.h"
#include "apps/terminal/progress.h"
#include "apps/terminal/wrapped_text.h"
#include "apps/training/run_context.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/dataset.h"
#include "data/phantom.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr int kTrainingScans = 16, kTestScans = 24;

struct DemoArguments {
    std::string out = "demo", device = "auto";
};

std::string phantom_names(int first, int count) {
    std::string names;
    for (int scan = first; scan < first + count; ++scan)
        names += fmt::format("{}\"phantom_{:03}\"", scan > first ? ", " : "", scan);
    return names;
}

void make_dataset(const fs::path& folder) {
    PhantomOptions options;
    options.folder = folder;
    options.cases = kTrainingScans + kTestScans;
    options.kind = PhantomKind::fading;
    if (const fs::path description = description_file(folder); fs::exists(description)) {  // written last
        const auto json = nlohmann::json::parse(read_text(description), nullptr, false);
        if (!json.is_object() || json.value("kind", "") != name_of(options.kind) ||
            json.value("numTraining", 0) != options.cases)
            throw InputError(fmt::format("{} holds other scans than the demo's {} of kind {}: give another --out",
                                         folder.string(), options.cases, name_of(options.kind)));
        return;
    }
    Progress progress("phantom", options.cases, "scans");
    write_phantom_dataset(options, [&](std::int64_t done, std::int64_t) { progress.update(done); });
}

void run_demo(const DemoArguments& arguments) {
    const fs::path out = arguments.out, dataset = out / "dataset", html = out / "report.html";
    make_dataset(dataset);
    std::vector<RunForReport> runs;
    for (const DemoRun& demo : demo_runs()) {
        const RunFolder run(out / demo.folder);
        const Config config = config_of_run(run, std::nullopt, demo_settings(demo), true);
        fmt::print("\nnetwork {} of {}, loss {}\n", runs.size() + 1, demo_runs().size(), config.loss);
        Context context(context_of_run(config, arguments.device, run));
        run_experiment(context, config, dataset, run);
        runs.push_back({config.loss, run.root()});
    }
    ReportData report = read_report_data(dataset, runs);
    report.finding = equal_rate_sentences(report, "Inverse weighting");
    write_report(report, html);
    fmt::print("\n{}\n{}\n\nreport   {}\n", results_text(report), fmt::join(wrapped(report.finding, 80), "\n"),
               fs::absolute(html).string());
}

}  // namespace

const std::vector<DemoRun>& demo_runs() {
    static const std::vector<DemoRun> runs = {{"plain", "dice + ce"}, {"weighted", ""}};
    return runs;
}

std::vector<std::string> demo_settings(const DemoRun& run) {
    std::vector<std::string> settings;
    std::istringstream lines(kDemoConfig);
    for (std::string line; std::getline(lines, line);)
        if (!line.empty() && line[0] != '#') settings.push_back(line);
    if (!run.loss.empty()) settings.push_back("loss=" + run.loss);
    settings.push_back(fmt::format("split={{train = [{}], validation = [], test = [{}]}}",
                                   phantom_names(0, kTrainingScans), phantom_names(kTrainingScans, kTestScans)));
    return settings;
}

void add_demo_command(CLI::App& app) {
    const auto arguments = std::make_shared<DemoArguments>();
    CLI::App* command =
        app.add_subcommand("demo", "Make phantom scans, train with and without inverse weights, compare");
    command->add_option("--out", arguments->out, "folder of the scans, the runs and report.html; what is there is kept")
        ->capture_default_str();
    command->add_option("--device", arguments->device, "auto, cpu or cuda")->capture_default_str();
    command->footer("Example:\n  iwseg demo --out demo");
    command->callback([arguments] { run_demo(*arguments); });
}

}  // namespace iwseg
