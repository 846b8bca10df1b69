#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "apps/run_folder/run_files.h"
#include "base/error.h"

namespace iwseg {

/// Another process owns the run folder.
class RunFolderInUse : public InputError {
  public:
    using InputError::InputError;
};

/// One experiment's folder, owned by one process while this lives: the lock is the system's, so that a crash frees it.
class RunFolder : public RunFiles {
  public:
    /// Creates the folder where it is missing. Throws InputError where it cannot be written, RunFolderInUse where it
    /// is in use.
    explicit RunFolder(std::filesystem::path folder);
    /// Removes a folder that was created here and in which nothing was kept.
    ~RunFolder();
    RunFolder(const RunFolder&) = delete;
    RunFolder& operator=(const RunFolder&) = delete;

  private:
    std::filesystem::path lock() const { return root() / ".lock"; }

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
