#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace iwseg {

/// How far long work has come, on stderr: a bar with rate and time left on a terminal, in one row of it however wide it
/// is at the time, else one plain line a minute.
class Progress {
  public:
    /// unit: what is counted, as in "steps". done: what an earlier run did already.
    Progress(std::string label, std::int64_t all, std::string unit, std::int64_t done = 0);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// note: shown at the end of the line, as in "loss 0.41".
    void update(std::int64_t done, const std::string& note = "");

  private:
    using Clock = std::chrono::steady_clock;

    std::string label_, unit_;
    std::int64_t all_, first_;
    bool terminal_, drawn_ = false;
    Clock::time_point start_, last_;
};

/// The text of one progress line: "train 40/100 steps, 2.50 steps/s, 0:24 left, loss 0.41", after a bar where bar_width
/// is above 0.
std::string progress_line(const std::string& label, std::int64_t done, std::int64_t all, const std::string& unit,
                          double rate, const std::string& note, int bar_width = 0);

/// The same in at most `columns` characters: with the widest bar that there is room for, up to 30, and cut where even
/// the text alone is too long.
std::string fitted_progress_line(const std::string& label, std::int64_t done, std::int64_t all, const std::string& unit,
                                 double rate, const std::string& note, int columns);

/// "1,234,567 bytes (1.2 MB)".
std::string bytes_text(std::int64_t bytes);
/// "4:07" or "1:04:07".
std::string clock_text(double seconds);
/// "1,234,567".
std::string count_text(std::int64_t count);

}  // namespace iwseg
