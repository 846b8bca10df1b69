#include "apps/training/fold_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include "apps/config/config.h"
#include "apps/run_folder/run_files.h"
#include "base/error.h"
#include "base/folder.h"
#include "data/dataset.h"
#include "evaluation/records.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFoldPrefix = "fold_";

std::optional<int> number_in(std::string_view text) {
    int number = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failure != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
    return number;
}

int fold_number(const std::string& text) {
    if (const auto number = number_in(text)) return *number;
    throw InputError("--fold " + text + " is not usable: a number from 0 or the word all was expected");
}

/// Names of the classes that a run has records of, sorted; none where lesions are of no class.
std::vector<std::string> classes_of(const fs::path& run) {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(RunFiles(run).classes(), none))
        if (fs::exists(RunFiles(entry.path()).records())) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

void pool(const fs::path& out, const std::vector<fs::path>& runs) {
    Records all;
    for (const fs::path& run : runs)
        for (auto& [name, records] : read_records(RunFiles(run).records()))
            if (!all.emplace(name, records).second)
                throw InputError(
                    fmt::format("case {} was tested in {} and in another fold: their records cannot be pooled", name,
                                run.string()));
    const fs::path file = RunFiles(out).records();
    write_records(file, all);
    fmt::print("\nrecords  {}: the {} test scans of {} folds\n", file.string(), all.size(), runs.size());
}

}  // namespace

fs::path fold_folder(const fs::path& out, int fold) {
    return out / fmt::format("{}{}", kFoldPrefix, fold);
}

std::vector<int> chosen_folds(const std::string& text, const fs::path& dataset) {
    std::vector<int> folds;
    if (text != "all") folds.push_back(fold_number(text));
    const int count = count_folds(dataset);
    if (folds.empty())
        for (int fold = 0; fold < count; ++fold) folds.push_back(fold);
    if (folds.back() >= count)
        throw InputError(fmt::format("--fold {} is not in splits_final.json of {}, which has {} folds, from 0 to {}",
                                     text, dataset.string(), count, count - 1));
    return folds;
}

std::vector<fs::path> fold_runs(const std::string& text, const fs::path& out) {
    if (text != "all") return {fold_folder(out, fold_number(text))};
    std::vector<int> folds;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(out, error)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with(kFoldPrefix)) continue;
        const auto number = number_in(std::string_view(name).substr(kFoldPrefix.size()));
        if (number && fold_folder(out, *number).filename() == name) folds.push_back(*number);
    }
    if (folds.empty())
        throw InputError(fmt::format("--fold all: {} holds no fold_0, fold_1, … as iwseg train --fold all makes them",
                                     out.string()));
    std::sort(folds.begin(), folds.end());
    std::vector<fs::path> runs;
    for (const int fold : folds) runs.push_back(fold_folder(out, fold));
    return runs;
}

void for_each_fold(const FoldRequest& request,
                   const std::function<void(const fs::path&, const std::vector<std::string>&)>& train) {
    const std::vector<int> folds = chosen_folds(request.fold, request.dataset);
    if (request.config && fs::exists(*request.config) && !fs::is_regular_file(*request.config))
        throw InputError(
            fmt::format("--config {} is a pipe: with --fold a file was expected, which is read for each fold",
                        request.config->string()));
    const Config config = resolve_config(request.config, request.settings);
    if (!config.split_name.empty() || config.split != Split{})
        throw InputError(
            fmt::format("--fold {} and the key split name the cases both: folds are those of "
                        "splits_final.json, expected no split beside them",
                        request.fold));
    for (std::size_t i = 0; i < folds.size(); ++i) {
        fmt::print("{}fold {}, {} of {}\n", i > 0 ? "\n" : "", folds[i], i + 1, folds.size());
        std::fflush(stdout);
        std::vector<std::string> of_fold = request.settings;
        of_fold.push_back(fmt::format("fold={}", folds[i]));
        train(fold_folder(request.out, folds[i]), of_fold);
    }
}

void pool_records(const fs::path& out, const std::vector<fs::path>& runs) {
    const std::vector<std::string> classes = classes_of(runs.front());
    if (classes.empty()) return pool(out, runs);
    for (const std::string& name : classes) {
        std::vector<fs::path> of_class;
        for (const fs::path& run : runs) of_class.push_back(RunFiles(run).of_class(name).root());
        const fs::path pooled = RunFiles(out).of_class(name).root();
        make_folder(pooled);
        pool(pooled, of_class);
    }
}

}  // namespace iwseg
