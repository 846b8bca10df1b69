#include "apps/evaluation/evaluation_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "apps/prediction/prediction_files.h"
#include "apps/run_folder/run_files.h"
#include "base/error.h"
#include "base/folder.h"
#include "evaluation/froc.h"
#include "evaluation/hit_rule.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::string name_of_folder(fs::path folder) {
    folder = named_folder(folder);
    if (folder.filename() == RunFiles({}).predictions() && folder.has_parent_path()) folder = folder.parent_path();
    return folder.filename().string();
}

NamedPredictions named_prediction(const std::string& argument) {
    const std::size_t sign = argument.find('=');
    if (sign == std::string::npos || fs::is_directory(argument)) return {name_of_folder(argument), argument};
    if (sign == 0 || sign + 1 == argument.size()) throw InputError("'" + argument + "' is not NAME=FOLDER");
    return {argument.substr(0, sign), argument.substr(sign + 1)};
}

/// Lesions by which of two methods finds them.
struct PairedLesions {
    std::int64_t both = 0, first = 0, second = 0, neither = 0;
};

/// Both were compared with the same labels: their lesions come in one order.
PairedLesions pair_lesions(const Records& first, const Records& second) {
    PairedLesions pairs;
    for (const auto& [scan, list] : first) {
        const std::vector<Outcome> a = outcomes_of(list), b = outcomes_of(second.at(scan));
        for (std::size_t i = 0; i < list.size() && list[i].is_tum; ++i) {
            const bool by_first = a[i] == Outcome::found, by_second = b[i] == Outcome::found;
            ++(by_first && by_second ? pairs.both : by_first ? pairs.first : by_second ? pairs.second : pairs.neither);
        }
    }
    return pairs;
}

std::string pair_text(const NamedEvaluation& first, const NamedEvaluation& second) {
    const PairedLesions lesions = pair_lesions(first.evaluation.records, second.evaluation.records);
    std::int64_t better = 0, worse = 0;
    for (std::size_t i = 0; i < first.evaluation.cases.size(); ++i) {
        const double a = first.evaluation.cases[i].overlap.dice(), b = second.evaluation.cases[i].overlap.dice();
        better += b > a;
        worse += b < a;
    }
    return fmt::format(
        "{0} against {1}: {2} lesions found by both, {3} by {0} alone, {4} by {1} alone,\n"
        "{5} by neither. Dice of {1} is higher in {6} of {7} scans and lower in {8}.\n",
        first.name, second.name, lesions.both, lesions.first, lesions.second, lesions.neither, better,
        first.evaluation.cases.size(), worse);
}

std::string recall_text(const Records& records) {
    if (lesion_diameters(records, SizeUnit::voxels).empty()) return "-";
    const Froc froc = compute_froc(records, {.draws = 1});
    return fmt::format("{:.3f}", recall_at(froc, froc.curve, kComparisonRate).value);
}

}  // namespace

std::vector<NamedPredictions> named_predictions(const std::vector<std::string>& arguments) {
    std::vector<NamedPredictions> all;
    for (const std::string& argument : arguments) {
        NamedPredictions one = named_prediction(argument);
        if (!fs::is_directory(one.folder))
            throw InputError("the folder of predictions " + one.folder.string() + " does not exist");
        if (std::any_of(all.begin(), all.end(), [&](const auto& other) { return other.name == one.name; }))
            throw InputError("two folders of predictions have the name " + one.name + "; expected NAME=FOLDER");
        if (one.name.empty() || one.name == "." || one.name == ".." || one.name.find('/') != std::string::npos)
            throw InputError("the name '" + one.name + "' cannot be that of a folder of results; expected NAME=FOLDER");
        all.push_back(std::move(one));
    }
    return all;
}

std::vector<NamedEvaluation> compare_predictions(const EvaluationOptions& options, const Reference& reference,
                                                 const std::vector<NamedPredictions>& predictions) {
    if (options.out.extension() == ".json")
        throw InputError(
            fmt::format("--out {} is one file; expected a folder for the records of {} folders of predictions",
                        options.out.string(), predictions.size()));
    std::vector<fs::path> folders;
    for (const NamedPredictions& one : predictions) folders.push_back(one.folder);
    const CasesToEvaluate chosen = cases_to_evaluate(reference, folders, options.cases);
    std::vector<NamedEvaluation> evaluations;
    for (const NamedPredictions& one : predictions) {
        EvaluationOptions own = options;
        own.predictions = one.folder;
        own.out = RunFiles(options.out / one.name).records();
        make_folder(own.out.parent_path());
        evaluations.push_back({one.name, evaluate_cases(own, reference, chosen)});
    }
    return evaluations;
}

std::string comparison_table(const std::vector<NamedEvaluation>& evaluations) {
    std::string text;
    std::size_t width = 4;
    for (const NamedEvaluation& one : evaluations) {
        text += fmt::format("{}\n{}\n", one.name, evaluation_table(one.evaluation));
        width = std::max(width, one.name.size());
    }
    text += fmt::format("{:<{}}  lesions found   small found  false p.   Dice  at {:g} FP  volume\n", "name", width,
                        kComparisonRate);
    for (const auto& [name, evaluation] : evaluations) {
        const LesionCounts counts = evaluation.counts();
        text += fmt::format("{:<{}}  {:>13}  {:>12}  {:>8}  {:>5.3f}  {:>7}  {}\n", name, width,
                            fmt::format("{} of {}", counts.found, counts.lesions),
                            fmt::format("{} of {}", counts.small_found, counts.small_lesions), counts.false_positives,
                            evaluation.mean_dice(), recall_text(evaluation.records),
                            volume_ratio_text(volume_ratio(evaluation.records)));
    }
    text += fmt::format("At {:g} FP: recall at so many false positives a scan, of detections by their score.\n",
                        kComparisonRate);
    for (std::size_t i = 1; i < evaluations.size(); ++i) text += pair_text(evaluations.front(), evaluations[i]);
    return text;
}

}  // namespace iwseg
