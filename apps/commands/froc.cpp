#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/evaluation/candidate_run.h"
#include "apps/evaluation/froc_files.h"
#include "apps/terminal/wrapped_text.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "evaluation/scan_sets.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct FrocArguments {
    std::vector<std::string> records;  ///< NAME=FILE
    fs::path out;
    std::string protocol = "corrected";
    FrocOptions options;
    CandidateArguments points;
};

struct NamedRecords {
    std::string name;
    Records records;
};

std::vector<NamedRecords> read_all(const std::vector<std::string>& arguments) {
    std::vector<NamedRecords> all;
    for (const std::string& argument : arguments) {
        const std::size_t sign = argument.find('=');
        if (sign == 0 || sign == std::string::npos || sign + 1 == argument.size())
            throw InputError("'" + argument + "' is not NAME=records.json");
        const std::string name = argument.substr(0, sign);
        if (std::any_of(all.begin(), all.end(), [&](const NamedRecords& other) { return other.name == name; }))
            throw InputError("the name " + name + " is given to two records files");
        all.push_back({name, read_records(argument.substr(sign + 1))});
    }
    return all;
}

/// The unit that all records know, and bounds from all lesions there are, so that a stratum means the same sizes for
/// every name.
void set_common_sizes(const std::vector<NamedRecords>& all, FrocOptions& options) {
    const auto in_mm = [](const NamedRecords& named) { return size_unit(named.records) == SizeUnit::mm; };
    const bool mm = std::all_of(all.begin(), all.end(), in_mm);
    if (!mm && std::any_of(all.begin(), all.end(), in_mm))
        fmt::print("Diameters are in voxels: not all of the records know them in mm.\n");
    options.size_unit = mm ? SizeUnit::mm : SizeUnit::voxels;
    std::vector<double> diameters;
    for (const NamedRecords& named : all) {
        const std::vector<double> own = lesion_diameters(named.records, *options.size_unit);
        diameters.insert(diameters.end(), own.begin(), own.end());
    }
    options.stratum_bounds = size_bounds(std::move(diameters), options.strata);
}

/// Writes into each how its scans differ from the others', and returns it in sentences.
std::string note_differences(const std::vector<NamedRecords>& all, std::vector<NamedFroc>& frocs) {
    std::vector<const Records*> records;
    std::vector<std::string> names;
    for (const NamedRecords& named : all) {
        records.push_back(&named.records);
        names.push_back(named.name);
    }
    const ScanSets sets = compare_scans(records);
    for (std::size_t i = 0; i < frocs.size(); ++i) {
        frocs[i].missing_scans = sets.missing[i];
        frocs[i].other_lesions = sets.other_lesions;
    }
    return describe_differences(sets, names);
}

void run_froc(FrocArguments arguments) {
    FrocOptions& options = arguments.options;
    if (!arguments.points.candidates.empty()) {
        arguments.points.options = {options.draws, options.seed};
        return run_candidate_froc(arguments.points, arguments.out);
    }
    if (arguments.records.empty())
        throw InputError("froc needs NAME=records.json, or --candidates and its lists (iwseg froc --help)");
    options.protocol = arguments.protocol == "paper" ? FrocProtocol::paper : FrocProtocol::corrected;
    const std::vector<NamedRecords> all = read_all(arguments.records);
    set_common_sizes(all, options);
    std::vector<NamedFroc> frocs;
    for (const NamedRecords& named : all) {
        try {
            frocs.push_back({named.name, compute_froc(named.records, options)});
        } catch (const InputError& error) {
            throw InputError(named.name + ": " + error.what());
        }
    }
    const std::string differences = note_differences(all, frocs);
    make_folder(arguments.out);
    write_text(arguments.out / "froc.svg", froc_chart(frocs, "Free-response operating characteristic"));
    if (options.protocol == FrocProtocol::corrected && options.stratum_bounds.size() == 2) {
        const std::string bound =
            fmt::format("{:.1f} {} in diameter", options.stratum_bounds[0], name_of(*options.size_unit));
        write_text(arguments.out / "froc_smaller_half.svg", stratum_chart(frocs, 0, "Lesions of at most " + bound));
        write_text(arguments.out / "froc_larger_half.svg", stratum_chart(frocs, 1, "Lesions above " + bound));
    }
    write_text(arguments.out / "froc.json", froc_json(frocs, options.protocol));
    fmt::print("{}", froc_table(frocs, options.protocol));
    if (differences.empty()) return;
    for (const std::string& line : wrapped(differences, 80)) fmt::print("{}\n", line);
}

}  // namespace

void add_froc_command(CLI::App& app) {
    auto arguments = std::make_shared<FrocArguments>();
    CLI::App* command = app.add_subcommand("froc", "Recall against false positives, from lesion records");
    CLI::Option* records =
        command->add_option("NAME=records.json", arguments->records, "records of each method, under the name to show");
    command->add_option("--out", arguments->out, "folder of froc.json and froc.svg")->required();
    CLI::Option* protocol =
        command
            ->add_option("--protocol", arguments->protocol,
                         "corrected: every scan counts, bootstrap with 95 % intervals; paper: the published numbers")
            ->check(CLI::IsMember({"corrected", "paper"}))
            ->capture_default_str();
    CLI::Option* scans = command
                             ->add_option("--scans", arguments->options.scans,
                                          "scans that were evaluated (default: those in the records)")
                             ->check(CLI::PositiveNumber);
    CLI::Option* strata =
        command->add_option("--strata", arguments->options.strata, "groups of lesions by size, of equal count")
            ->check(CLI::Range(1, 20))
            ->capture_default_str();
    command->add_option("--draws", arguments->options.draws, "draws of the bootstrap")
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
    command->add_option("--seed", arguments->options.seed, "seed of the bootstrap")->capture_default_str();
    add_candidate_options(*command, arguments->points);
    for (CLI::Option* option : {records, protocol, scans, strata}) option->excludes("--candidates");
    command->footer(
        "A lesion is found by a detection of intersection over union of at least 0.1; one that covers much more than "
        "what\n"
        "it hits is a false positive (protocol paper: any overlap is a hit). docs/evaluation.md has the rule.\n"
        "Examples:\n  iwseg froc dl=runs/dl/records.json iwdl=runs/iwdl/records.json --out froc\n"
        "  iwseg froc --candidates my_detector.csv --annotations annotations.csv \\\n"
        "      --excluded annotations_excluded.csv --seriesuids seriesuids.csv --out froc");
    command->callback([arguments] { run_froc(*arguments); });
}

}  // namespace iwseg
