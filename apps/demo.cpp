#include "apps/demo.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "apps/commands.h"
#include "apps/experiment_run.h"
#include "apps/progress.h"
#include "apps/report.h"
#include "apps/report_data.h"
#include "apps/report_results.h"
#include "apps/training_run.h"
#include "data/phantom.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr int training_scans = 16, test_scans = 12;

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
    if (fs::exists(folder / "dataset.json")) return;  // written last, so the dataset is whole
    PhantomOptions options;
    options.folder = folder;
    options.cases = training_scans + test_scans;
    Progress progress("phantom", options.cases, "scans");
    write_phantom_dataset(options, [&](std::int64_t done, std::int64_t) { progress.update(done); });
}

void run_demo(const DemoArguments& arguments) {
    const fs::path out = arguments.out, dataset = out / "dataset", html = out / "report.html";
    make_dataset(dataset);
    std::vector<RunForReport> runs;
    for (const std::string loss : {"dl", "iwdl"}) {
        fmt::print("\n{}\n", loss == "dl" ? "dl: Dice loss" : "iwdl: Dice loss with inverse weights");
        const RunFolder run(out / loss);
        const Config config = config_of_run(run, std::nullopt, demo_settings(loss), true);
        Context context({.device = arguments.device, .threads = config.threads, .deterministic = config.deterministic});
        run_experiment(context, config, dataset, run);
        runs.push_back({loss, run.root()});
    }
    const ReportData report = read_report_data(dataset, runs);
    write_report(report, html);
    fmt::print("\n{}\nreport   {}\n", results_text(report), fs::absolute(html).string());
}

}  // namespace

std::vector<std::string> demo_settings(const std::string& loss) {
    return {"loss=" + loss,
            "widths=[8, 16, 32, 64]",
            "patch=[32, 32, 32]",
            "batch=4",
            "epochs=7",
            "steps_per_epoch=50",
            "learning_rate=0.05",
            "lr_schedule=[[5, 0.2]]",
            "intensity={window = [-200, 300]}",
            "predict={patch = 64, stride = 56}",
            fmt::format("split={{train = [{}], validation = [], test = [{}]}}", phantom_names(0, training_scans),
                        phantom_names(training_scans, test_scans))};
}

void add_demo_command(CLI::App& app) {
    const auto arguments = std::make_shared<DemoArguments>();
    CLI::App* command = app.add_subcommand("demo",
                                            "Make phantom scans, train with and without inverse weights, compare");
    command->add_option("--out", arguments->out, "folder of the scans, the runs and report.html; what is there is kept")
        ->capture_default_str();
    command->add_option("--device", arguments->device, "auto, cpu or cuda")->capture_default_str();
    command->footer("Example:\n  iwseg demo --out demo");
    command->callback([arguments] { run_demo(*arguments); });
}

}  // namespace iwseg
