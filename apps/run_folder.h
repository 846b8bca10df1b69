#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "kernels/error.h"

namespace iwseg {

/// Another process owns the run folder.
class RunFolderInUse : public InputError {
  public:
    using InputError::InputError;
};

/// Where a run folder keeps what its results were made of (apps/staleness.h).
inline std::filesystem::path inputs_file(const std::filesystem::path& run) {
    return run / "inputs.json";
}

/// One experiment's folder, owned by one process while this lives: the lock is the system's, so that a crash frees it.
class RunFolder {
  public:
    /// Creates the folder where it is missing. Throws InputError where it cannot be written, RunFolderInUse where it
    /// is in use.
    explicit RunFolder(std::filesystem::path root);
    /// Removes a folder that was created here and in which nothing was kept.
    ~RunFolder();
    RunFolder(const RunFolder&) = delete;
    RunFolder& operator=(const RunFolder&) = delete;

    const std::filesystem::path& root() const { return root_; }
    std::filesystem::path config() const { return root_ / "config.toml"; }
    std::filesystem::path split() const { return root_ / "split.json"; }
    std::filesystem::path inputs() const { return inputs_file(root_); }
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

  private:
    std::filesystem::path lock() const { return root_ / ".lock"; }

    std::filesystem::path root_;
    bool created_ = false;
    int descriptor_ = -1;
};

/// Held by one process at a time: another waits for it. A crash frees it.
class FolderLock {
  public:
    /// Locks the file .lock in a folder that exists. Throws InputError where it cannot be written.
    explicit FolderLock(const std::filesystem::path& folder);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

  private:
    int descriptor_ = -1;
};

/// log.jsonl: one JSON object a step, in the order of steps. Throws InputError where it cannot be written.
class StepLog {
  public:
    /// Keeps the whole lines whose step is at most last_step, and appends after them.
    StepLog(std::filesystem::path file, std::int64_t last_step);
    ~StepLog();
    StepLog(const StepLog&) = delete;
    StepLog& operator=(const StepLog&) = delete;

    /// line: one JSON object without its line end.
    void append(const std::string& line);
    /// What was appended survives a power cut.
    void sync();

  private:
    std::filesystem::path file_;
    std::int64_t bytes_ = 0;
    int descriptor_ = -1;
};

}  // namespace iwseg
