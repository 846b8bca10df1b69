#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>

#include "apps/candidate_run.h"
#include "apps/commands.h"
#include "apps/froc_files.h"
#include "engine/atomic_file.h"
#include "kernels/error.h"

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

/// Bounds from all lesions there are, so that a stratum means the same sizes for every name.
std::vector<double> common_bounds(const std::vector<NamedRecords>& all, int strata) {
    std::vector<double> diameters;
    for (const NamedRecords& named : all) {
        const std::vector<double> own = lesion_diameters(named.records);
        diameters.insert(diameters.end(), own.begin(), own.end());
    }
    return size_bounds(std::move(diameters), strata);
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
    options.stratum_bounds = common_bounds(all, options.strata);
    std::vector<NamedFroc> frocs;
    for (const NamedRecords& named : all) {
        try {
            frocs.push_back({named.name, compute_froc(named.records, options)});
        } catch (const InputError& error) {
            throw InputError(named.name + ": " + error.what());
        }
    }
    std::error_code failure;
    fs::create_directories(arguments.out, failure);
    if (failure) throw InputError("the folder " + arguments.out.string() + " cannot be made: " + failure.message());
    write_text(arguments.out / "froc.svg", froc_chart(frocs, "Free-response operating characteristic"));
    if (options.protocol == FrocProtocol::corrected && options.stratum_bounds.size() == 2) {
        const double bound = options.stratum_bounds[0];
        write_text(arguments.out / "froc_smaller_half.svg",
                   stratum_chart(frocs, 0, fmt::format("Lesions of at most {:.1f} voxels in diameter", bound)));
        write_text(arguments.out / "froc_larger_half.svg",
                   stratum_chart(frocs, 1, fmt::format("Lesions above {:.1f} voxels in diameter", bound)));
    }
    write_text(arguments.out / "froc.json", froc_json(frocs, options.protocol));
    fmt::print("{}", froc_table(frocs, options.protocol));
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
    CLI::Option* scans =
        command->add_option("--scans", arguments->options.scans, "scans judged (default: those in the records)")
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
        "Examples:\n  iwseg froc dl=runs/dl/records.json iwdl=runs/iwdl/records.json --out froc\n"
        "  iwseg froc --candidates my_detector.csv --annotations annotations.csv \\\n"
        "      --excluded annotations_excluded.csv --seriesuids seriesuids.csv --out froc");
    command->callback([arguments] { run_froc(*arguments); });
}

}  // namespace iwseg
