#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace iwseg {

/// One process' part in a training: from its start, or its --resume, to where it ended.
struct RunSession {
    std::string begun = {}, ended = {};  ///< UTC, as 2026-11-25T09:30:00Z; ended is empty where the process was killed
    std::string version = {}, device = {};  ///< the program's, and what computed
    std::int64_t first_step = 0;            ///< steps done before
    std::int64_t arena_bytes = 0;           ///< of the plan
    std::int64_t peak_bytes = 0;            ///< host memory of the process at its largest; 0 where it was killed
    double seconds = 0;                     ///< from start to end, everything counted
};

/// Now, in UTC.
std::string utc_now();

/// Notes in sessions.jsonl that a training begins, and when this is destroyed, that it ended, however it did.
/// A file that cannot be written is passed over: the training does not depend on it.
class SessionRecord {
  public:
    /// Of the session, begun, ended, version, peak_bytes and seconds are filled in here.
    SessionRecord(std::filesystem::path file, RunSession session);
    ~SessionRecord();
    SessionRecord(const SessionRecord&) = delete;
    SessionRecord& operator=(const SessionRecord&) = delete;

  private:
    std::filesystem::path file_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// In the order of their starts; none where there is no such file. Lines that are torn are left out.
std::vector<RunSession> read_sessions(const std::filesystem::path& file);

}  // namespace iwseg
