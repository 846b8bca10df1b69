#include "apps/terminal/progress.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <string>

#include "apps/terminal/wrapped_text.h"

namespace iwseg {
namespace {

TEST(ProgressLine, FitsEveryWidthAndKeepsTheCountBeforeTheBar) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < 200; ++trial) {
        const auto all = static_cast<std::int64_t>(random() % 1000000 + 1);
        const auto done = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(all));
        const int columns = static_cast<int>(random() % 140);
        const std::string line =
            fitted_progress_line("predict Läsion_017", done, all, "steps", 2.34, "loss 0.4512", columns);
        EXPECT_LE(character_count(line), static_cast<std::size_t>(columns)) << line;
        const std::string text = progress_line("predict Läsion_017", done, all, "steps", 2.34, "loss 0.4512");
        // Text goes before the bar; a bar is either readable or not there.
        if (columns >= static_cast<int>(character_count(text))) {
            EXPECT_TRUE(line.ends_with("loss 0.4512")) << line;
        }
        const std::size_t open = line.find('['), close = line.find(']');
        if (open != std::string::npos) {
            EXPECT_GE(close - open, 6u) << line;
            EXPECT_LE(close - open, 31u) << line;
        }
    }
    EXPECT_EQ(fitted_progress_line("train", 0, 10, "steps", 0, "", 0), "");
    EXPECT_EQ(fitted_progress_line("Läsion", 0, 10, "steps", 0, "", 3), "Läs") << "a character is not cut in two";
}

/// What is on the terminal's other side up to a byte.
std::string read_to(int terminal, char end) {
    std::string text;
    for (char c; ::read(terminal, &c, 1) == 1;) {
        text += c;
        if (c == end) break;
    }
    return text;
}

/// The characters of a row as "\r" ... "\033[K" draws it.
std::size_t drawn_characters(std::string text) {
    std::erase(text, '\r');
    std::erase(text, '\n');
    const std::size_t end = text.find("\033[K");
    return character_count(text.substr(0, end));
}

TEST(Progress, DrawsOneRowOfTheTerminalAlsoAfterItIsResized) {
    struct winsize size = {24, 80, 0, 0};
    int terminal = -1;
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
    ASSERT_GE(child, 0);
    if (child == 0) {
        const std::string note =
            "loss 0.4512, recall 0.6612 at 2 false positives a scan, and a note that goes on and on";
        for (int line = 0; line < 2; ++line) {
            {
                Progress progress("train", 100000, "steps", 4321);
                progress.update(4322, note);
            }
            char c;
            if (::read(STDIN_FILENO, &c, 1) != 1) ::_exit(1);
        }
        ::_exit(0);
    }
    const std::string wide = read_to(terminal, '\n');
    EXPECT_EQ(drawn_characters(wide), 79u) << wide;
    size.ws_col = 43;
    ASSERT_EQ(::ioctl(terminal, TIOCSWINSZ, &size), 0);
    ASSERT_EQ(::write(terminal, "\n", 1), 1);
    std::string narrow;
    while (narrow.find("\033[K") == std::string::npos) {
        const std::string part = read_to(terminal, 'K');
        ASSERT_FALSE(part.empty());
        narrow += part;
    }
    EXPECT_EQ(drawn_characters(narrow), 42u) << narrow;
    ASSERT_EQ(::write(terminal, "\n", 1), 1);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    ::close(terminal);
}

}  // namespace
}  // namespace iwseg
