#include "apps/training_validation.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/atomic_file.h"
#include "engine/safetensors.h"
#include "evaluation/froc.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStep = "step";  ///< in the metadata of best.safetensors

/// The step whose weights the file holds; 0 where it is not there or does not tell.
std::int64_t step_of(const fs::path& file) {
    if (!fs::exists(file)) return 0;
    Metadata metadata;
    read_safetensors(file, &metadata);
    const auto found = metadata.find(kStep);
    return found == metadata.end() ? 0 : std::strtoll(found->second.c_str(), nullptr, 10);
}

/// The parameters' names and shapes, filled from a file.
void load_like(const Parameters& network, const fs::path& file, Parameters& weights) {
    for (int i = 0; i < network.size(); ++i) weights.declare(network[i].name, network[i].shape, network[i].learned);
    weights.load(file);
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
    const bool best = !before || score.better_than(*before);
    if (best) {
        Metadata metadata = metadata_;
        metadata[kStep] = std::to_string(score.step);
        trained.save(run_.best(), metadata);  // before its line: a pass that is not in the log is made again
    }
    log_.append(validation_line(score, (score.step - 1) / config_.steps_per_epoch, best).dump());
    std::vector<std::pair<std::string, float>> scalars{{"validation/dice", static_cast<float>(score.dice)},
                                                       {"validation/loss", static_cast<float>(score.loss)}};
    if (score.average_recall)
        scalars.emplace_back("validation/average_recall", static_cast<float>(*score.average_recall));
    for (std::size_t i = 0; i < score.sensitivity.size(); ++i)
        scalars.emplace_back(fmt::format("validation/recall_at_{}_false_positives", luna_rates[i]),
                             static_cast<float>(score.sensitivity[i]));
    events_.add_scalars(score.step, scalars);
    scores_.push_back(score);
}

std::string TrainingValidation::note() const {
    const ValidationScore* best = best_of(scores_);
    if (!best) return "";
    if (!best->average_recall) return fmt::format(", Dice {:.3f}", scores_.back().dice);
    return fmt::format(", recall {:.3f} (best {:.3f} after step {})", scores_.back().average_recall.value_or(0),
                       *best->average_recall, best->step);
}

Metadata TrainingValidation::finish(std::int64_t step, Parameters& trained) {
    if (!validation_.any()) return metadata_;
    ValidationScore score;
    const bool wanted = due(step);
    const std::optional<OperatingPoint> point = validation_.choose(trained, step, &score);
    if (wanted) keep(score, trained);
    Metadata of_last = with_point(metadata_, point);
    finish_best(step, of_last);
    if (point) {
        fmt::print("masks    {},\n         {}\n", rule_text(point->rule), choice_text(*point));
        write_text(run_.operating_point(), operating_point_json(*point) + "\n");
    } else {
        fmt::print("masks    {}: no lesion of the validation scans is found by any threshold\n", rule_text({}));
        fs::remove(run_.operating_point());
    }
    return of_last;
}

void TrainingValidation::finish_best(std::int64_t last_step, const Metadata& of_last) {
    const ValidationScore* best = best_of(scores_);
    if (!best) return;
    if (step_of(run_.best()) != best->step) {
        fmt::print("best     {} is not of step {}, which was the best: it is left as it is\n", run_.best().string(),
                   best->step);
        return;
    }
    Parameters weights;
    load_like(validation_.weights(), run_.best(), weights);
    Metadata metadata = of_last;
    if (best->step != last_step) metadata = with_point(metadata_, validation_.choose(weights, best->step));
    metadata[kStep] = std::to_string(best->step);
    weights.save(run_.best(), metadata);
    fmt::print("best     {}, of step {}: average recall {:.3f}, Dice {:.3f}\n", run_.best().string(), best->step,
               best->average_recall.value_or(0), best->dice);
}

}  // namespace iwseg
