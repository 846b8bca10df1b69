#include "apps/terminal/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/terminal/wrapped_text.h"

namespace iwseg {
namespace {

constexpr int kWidestBar = 30, kNarrowestBar = 5;
constexpr std::chrono::milliseconds kRedraw{200};
constexpr std::chrono::minutes kPlainLine{1};

/// Asked anew for each line, since windows are resized.
int terminal_columns() {
    constexpr int unknown = 80;
    struct winsize size = {};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : unknown;
}

}  // namespace

std::string progress_line(const std::string& label, std::int64_t done, std::int64_t all, const std::string& unit,
                          double rate, const std::string& note, int bar_width) {
    std::string line = label + " ";
    if (bar_width > 0) {
        const auto filled = static_cast<int>(done * bar_width / std::max<std::int64_t>(all, 1));
        line += fmt::format("[{:=<{}}{:{}}] ", "", filled, "", bar_width - filled);
    }
    line += fmt::format("{}/{} {}", done, all, unit);
    if (rate > 0) {
        // Slow work reads better the other way round.
        line += rate < 0.1 ? fmt::format(", {:.1f} s each", 1 / rate) : fmt::format(", {:.3g} {}/s", rate, unit);
        line += fmt::format(", {} left", clock_text(static_cast<double>(all - done) / rate));
    }
    return note.empty() ? line : line + ", " + note;
}

std::string fitted_progress_line(const std::string& label, std::int64_t done, std::int64_t all, const std::string& unit,
                                 double rate, const std::string& note, int columns) {
    const std::string text = progress_line(label, done, all, unit, rate, note);
    const int room = columns - static_cast<int>(character_count(text)) - 3;  // two brackets and a space
    if (room >= kNarrowestBar) return progress_line(label, done, all, unit, rate, note, std::min(room, kWidestBar));
    return first_characters(text, static_cast<std::size_t>(std::max(columns, 0)));
}

std::string clock_text(double seconds) {
    const auto s = std::llround(seconds);
    return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                    : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string count_text(std::int64_t count) {
    const std::string digits = std::to_string(count);
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
        text += digits[i];
    }
    return text;
}

std::string bytes_text(std::int64_t bytes) {
    const auto b = static_cast<double>(bytes);
    return fmt::format("{} bytes ({})", count_text(bytes),
                       b < 1e9 ? fmt::format("{:.1f} MB", b / 1e6) : fmt::format("{:.2f} GB", b / 1e9));
}

Progress::Progress(std::string label, std::int64_t all, std::string unit, std::int64_t done)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      all_(all),
      first_(done),
      terminal_(::isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
    if (drawn_) std::fputc('\n', stderr);
}

void Progress::update(std::int64_t done, const std::string& note) {
    const auto now = Clock::now();
    const bool due = terminal_ ? now - last_ >= kRedraw || done == all_ || !drawn_ : now - last_ >= kPlainLine;
    if (!due) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
    // In the last column some terminals begin a new row.
    if (terminal_)
        fmt::print(stderr, "\r{}\033[K",
                   fitted_progress_line(label_, done, all_, unit_, rate, note, terminal_columns() - 1));
    else
        fmt::print(stderr, "{}\n", progress_line(label_, done, all_, unit_, rate, note));
    std::fflush(stderr);
    drawn_ = terminal_;
}

}  // namespace iwseg
