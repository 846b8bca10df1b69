#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "apps/config/config.h"
#include "apps/run_folder/run_folder.h"
#include "apps/training/tensorboard.h"
#include "apps/training/validation.h"

namespace iwseg {

using Metadata = std::map<std::string, std::string>;

/// In the metadata of weights: after which step they are.
constexpr const char* kStepKey = "step";

/// Follows a training by its validation scans: makes the passes that are due, writes their lines into log.jsonl and
/// TensorBoard, keeps the weights of the best one in best.safetensors, and at the end chooses the rule of masks. What
/// it knows of earlier passes stands in log.jsonl, so that a training killed at any moment goes on as if it had not
/// been.
class TrainingValidation {
  public:
    /// Reads the passes made so far. log: of this run, opened, so that it ends where the training goes on; it and the
    /// others must outlive this. metadata: of the weights.
    TrainingValidation(Validation& validation, const Config& config, const RunFolder& run, Metadata metadata,
                       StepLog& log, EventWriter& events);

    /// Whether a pass comes after this step that has not been made.
    bool due(std::int64_t step) const;
    /// Makes it; call it when a checkpoint of the step is saved.
    void after(std::int64_t step, Parameters& trained);
    /// After the last step: looks at every scan, chooses the rule for the last and for the best weights, writes
    /// operating_point.json and best.safetensors. Returns the metadata that model.safetensors should have, its step
    /// among them.
    Metadata finish(std::int64_t step, Parameters& trained);

    /// For the end of a progress line, as in ", recall 0.51 (best 0.53 after step 300)"; empty before the first pass.
    std::string note() const;

  private:
    void keep(const ValidationScore& score, Parameters& trained);
    void finish_best(std::int64_t last_step, const Metadata& of_last);

    Validation& validation_;
    const Config& config_;
    const RunFolder& run_;
    Metadata metadata_;
    StepLog& log_;
    EventWriter& events_;
    std::vector<ValidationScore> scores_;
};

}  // namespace iwseg
