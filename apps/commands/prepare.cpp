#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/commands/finite.h"
#include "apps/preparation/preparation_run.h"
#include "base/error.h"
#include "studies/lits.h"
#include "studies/luna16.h"

namespace iwseg {
namespace {

struct PrepareArguments {
    std::filesystem::path raw;
    std::vector<std::string> exclude;
    double memory_gigabytes = 0;
    PreparationRunOptions options;
};

void run_prepare(const Study& study, PrepareArguments& arguments) {
    arguments.options.excluded = excluded_names(study, arguments.exclude);
    arguments.options.memory = static_cast<std::int64_t>(arguments.memory_gigabytes * 1e9);
    const PreparationResult result = prepare_study(study, arguments.options);
    fmt::print("{}", preparation_summary(study, result));
    if (!result.left_out.empty())
        throw InputError(
            fmt::format("{} of {} scans could not be prepared and {} left out; {} says why, and the same "
                        "command tries them again",
                        result.left_out.size(), study.cases().size(), result.left_out.size() == 1 ? "is" : "are",
                        (arguments.options.out / "preparation.json").string()));
}

template <class AnyStudy>
void add_study(CLI::App& prepare, const char* name, const char* description, const char* footer) {
    const auto arguments = std::make_shared<PrepareArguments>();
    CLI::App* command = prepare.add_subcommand(name, description);
    command->add_option("--raw", arguments->raw, "folder of the data as they are downloaded")->required();
    command->add_option("--out", arguments->options.out, "dataset folder to make or to go on with")
        ->type_name("DATASET")
        ->required();
    command->add_option("--exclude", arguments->exclude, "scans to leave out: names by commas, or a file of names")
        ->delimiter(',')
        ->allow_extra_args(false);
    command
        ->add_option("--memory", arguments->memory_gigabytes,
                     "GB for the scans in work together (default: half of what is free)")
        ->check(CLI::Range(0.001, 1e6))
        ->check(finite());
    command->add_option("--threads", arguments->options.threads, "scans in work at a time (default: all cores)")
        ->check(CLI::Range(1, 4096));
    command->footer(footer);
    command->callback([arguments] { run_prepare(AnyStudy(arguments->raw), *arguments); });
}

}  // namespace

void add_prepare_command(CLI::App& app) {
    CLI::App* command = app.add_subcommand("prepare", "Make a dataset of a public study's raw data, as published");
    command->require_subcommand(1);
    add_study<Luna16>(*command, "luna16", "LUNA16 with the contours of LIDC-IDRI: lung nodules in CT",
                      "The raw folder holds subset0 ... subset9, seg-lungs-LUNA16, annotations.csv and tcia-lidc-xml.\n"
                      "A second call goes on where the first was stopped. Exit code 2 where scans had to be left out.\n"
                      "Example:\n  iwseg prepare luna16 --raw LUNA16 --out luna16 --exclude outlier_ids.json");
    add_study<Lits>(*command, "lits", "LiTS: liver tumours in CT",
                    "The raw folder holds volume-N.nii and segmentation-N.nii, N = 0 to 130, at any depth.\n"
                    "A second call goes on where the first was stopped. Exit code 2 where scans had to be left out.\n"
                    "Example:\n  iwseg prepare lits --raw LITS --out lits");
    command->footer(
        "Example:\n  iwseg prepare luna16 --raw LUNA16 --out luna16\n  iwseg prepare lits --raw LITS --out lits");
}

}  // namespace iwseg
