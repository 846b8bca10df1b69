#pragma once

#include <filesystem>
#include <string>
#include <utility>

namespace iwseg {

/// The files of a run's folder, by name: these are written nowhere else. Names alone; RunFolder owns the folder.
class RunFiles {
  public:
    explicit RunFiles(std::filesystem::path root) : root_(std::move(root)) {}

    const std::filesystem::path& root() const { return root_; }
    std::filesystem::path config() const { return root_ / "config.toml"; }
    std::filesystem::path split() const { return root_ / "split.json"; }
    /// What results were made of (apps/run_folder/staleness.h).
    std::filesystem::path inputs() const { return root_ / "inputs.json"; }
    std::filesystem::path trained_on() const { return root_ / "trained_on.json"; }
    std::filesystem::path log() const { return root_ / "log.jsonl"; }
    /// cuDNN's plans that were chosen on a GPU.
    std::filesystem::path plans() const { return root_ / "plans.txt"; }
    std::filesystem::path sessions() const { return root_ / "sessions.jsonl"; }
    std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
    std::filesystem::path model() const { return root_ / "model.safetensors"; }
    std::filesystem::path best() const { return root_ / "best.safetensors"; }
    std::filesystem::path operating_point() const { return root_ / "operating_point.json"; }
    std::filesystem::path predictions() const { return root_ / "predictions"; }
    std::filesystem::path records() const { return root_ / "records.json"; }
    std::filesystem::path report() const { return root_ / "report.html"; }
    /// Results of several classes: metrics.json, and a folder of each class's name with records and report.
    std::filesystem::path classes() const { return root_ / "classes"; }
    RunFiles of_class(const std::string& name) const { return RunFiles(classes() / name); }

  private:
    std::filesystem::path root_;
};

}  // namespace iwseg
