#include "apps/training/training_validation.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/training/weight_check.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "engine/safetensors.h"
#include "evaluation/froc.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// What is wrong with the weights that were kept of a step; nothing where they are filled from the file.
std::optional<std::string> load_best(const fs::path& file, std::int64_t step, const Parameters& network,
                                     Parameters& weights) {
    if (!fs::exists(file)) return "it is not there";
    try {
        Metadata metadata;
        read_safetensors_header(file, &metadata);
        if (const auto found = metadata.find(kStepKey);
            found == metadata.end() || found->second != std::to_string(step))
            return "it holds the weights of another step";
        for (const Parameter& p : network.list()) weights.declare({p.name, p.shape, p.initial, p.learned});
        weights.load(file);
    } catch (const InputError& error) {
        return error.what();
    }
    return unusable_weights(weights);
}

std::string recall_text(const ValidationScore& score) {
    return score.average_recall ? fmt::format("{:.3f}", *score.average_recall) : "-";
}

Metadata with_point(Metadata metadata, const std::optional<OperatingPoint>& point) {
    if (point) metadata["operating_point"] = operating_point_json(*point);
    return metadata;
}

}  // namespace

TrainingValidation::TrainingValidation(Validation& validation, const Config& config, const RunFolder& run,
                                       Metadata metadata, StepLog& log, EventWriter& events)
    : validation_(validation),
      config_(config),
      run_(run),
      metadata_(std::move(metadata)),
      log_(log),
      events_(events),
      scores_(read_validation_scores(run.log())) {}

bool TrainingValidation::due(std::int64_t step) const {
    return step > 0 && validation_.due(step) && (scores_.empty() || scores_.back().step < step);
}

void TrainingValidation::after(std::int64_t step, Parameters& trained) {
    keep(validation_.score(trained, step), trained);
}

void TrainingValidation::keep(const ValidationScore& score, Parameters& trained) {
    const ValidationScore* before = best_of(scores_);
    const bool best = score.average_recall && (!before || score.better_than(*before));
    if (best) {
        Metadata metadata = metadata_;
        metadata[kStepKey] = std::to_string(score.step);
        trained.save(run_.best(), metadata);  // before its line: a pass that is not in the log is made again
    }
    log_.append(validation_line(score, (score.step - 1) / config_.steps_per_epoch, best).dump());
    std::vector<std::pair<std::string, float>> scalars{{"validation/dice", static_cast<float>(score.dice)},
                                                       {"validation/loss", static_cast<float>(score.loss)}};
    if (score.average_recall)
        scalars.emplace_back("validation/average_recall", static_cast<float>(*score.average_recall));
    for (std::size_t i = 0; i < score.sensitivity.size(); ++i)
        scalars.emplace_back(fmt::format("validation/recall_at_{}_false_positives", kLunaRates[i]),
                             static_cast<float>(score.sensitivity[i]));
    for (const ValidationScore::OfClass& one : score.classes) {
        scalars.emplace_back("validation/dice_of_" + one.name, static_cast<float>(one.dice));
        if (one.average_recall)
            scalars.emplace_back("validation/average_recall_of_" + one.name, static_cast<float>(*one.average_recall));
    }
    events_.add_scalars(score.step, scalars);
    scores_.push_back(score);
}

std::string TrainingValidation::note() const {
    if (scores_.empty()) return "";
    const ValidationScore* best = best_of(scores_);
    if (!best) return fmt::format(", Dice {:.3f}", scores_.back().dice);
    return fmt::format(", recall {} (best {} after step {})", recall_text(scores_.back()), recall_text(*best),
                       best->step);
}

Metadata TrainingValidation::finish(std::int64_t step, Parameters& trained) {
    Metadata of_last = metadata_;
    of_last[kStepKey] = std::to_string(step);
    if (!validation_.any()) return of_last;
    ValidationScore score;
    const bool wanted = due(step);
    const auto [point, lesions] = validation_.choose(trained, step, &score);
    if (wanted) keep(score, trained);
    of_last = with_point(std::move(of_last), point);
    finish_best(step, of_last);
    if (point) {
        fmt::print("masks    {},\n         {}\n", rule_text(point->rule), choice_text(*point));
        write_text(run_.operating_point(), operating_point_json(*point) + "\n");
    } else if (!config_.classes.empty() || !config_.regions.empty()) {
        fmt::print("masks    labels are those of the largest probability, regions those above 0.5\n");
    } else {
        fmt::print("masks    {}: {}\n", rule_text({}),
                   lesions == 0 ? "the validation scans have no lesion to choose another rule by"
                                : "no lesion of the validation scans is found by any threshold");
        fs::remove(run_.operating_point());
    }
    return of_last;
}

void TrainingValidation::finish_best(std::int64_t last_step, const Metadata& of_last) {
    const ValidationScore* best = best_of(scores_);
    if (!best) {
        fmt::print("best     none is kept: no pass had a scan with a lesion\n");
        return;
    }
    Parameters weights;
    if (const auto fault = load_best(run_.best(), best->step, validation_.weights(), weights)) {
        fmt::print("best     {} is not that of step {}, the best, and is left as it is: {}\n", run_.best().string(),
                   best->step, *fault);
        return;
    }
    Metadata metadata = of_last;
    if (best->step != last_step) metadata = with_point(metadata_, validation_.choose(weights, best->step).point);
    metadata[kStepKey] = std::to_string(best->step);
    weights.save(run_.best(), metadata);
    fmt::print("best     {}, of step {}: average recall {}, Dice {:.3f}\n", run_.best().string(), best->step,
               recall_text(*best), best->dice);
}

}  // namespace iwseg
