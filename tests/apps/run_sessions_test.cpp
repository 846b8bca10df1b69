#include "apps/run_folder/run_sessions.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class RunSessions : public ::testing::Test {
  protected:
    fs::path file = fs::temp_directory_path() / ("iwseg_sessions_" + std::to_string(std::random_device{}()) + ".jsonl");
    void TearDown() override { fs::remove(file); }
};

RunSession session(const std::string& device, std::int64_t first_step) {
    RunSession made;
    made.device = device;
    made.first_step = first_step;
    made.arena_bytes = 123456789012;
    return made;
}

TEST_F(RunSessions, EachStartAndItsEndAreOneSession) {
    { const SessionRecord record(file, session("a \"card\"", 0)); }
    { const SessionRecord record(file, session("b", 40)); }
    const std::vector<RunSession> read = read_sessions(file);
    ASSERT_EQ(read.size(), 2u);
    EXPECT_EQ(read[0].device, "a \"card\"");
    EXPECT_EQ(read[0].arena_bytes, 123456789012);
    EXPECT_EQ(read[1].first_step, 40);
    for (const RunSession& one : read) {
        EXPECT_EQ(one.begun.size(), 20u) << one.begun;
        EXPECT_LE(one.begun, one.ended) << "ISO dates sort as times do";
        EXPECT_GT(one.peak_bytes, 1 << 20);
        EXPECT_GE(one.seconds, 0);
    }
}

TEST_F(RunSessions, AKilledProcessLeavesASessionWithoutAnEnd) {
    {
        std::ofstream out(file);
        out << R"({"begun": "2026-01-01T00:00:00Z", "device": "a", "first_step": 0})" << '\n'
            << R"({"begun": "2026-01-02T00:00:00Z", "device": "b", "first_step": 7})" << '\n'
            << R"({"ended": "2026-01-03T00:00:00Z", "seconds": 5.5, "peak_bytes": 10})" << '\n'
            << R"({"begun": 5})" << '\n'
            << R"({"begun": "2026-01-0)";
    }
    const std::vector<RunSession> read = read_sessions(file);
    ASSERT_EQ(read.size(), 2u);
    EXPECT_EQ(read[0].ended, "");
    EXPECT_EQ(read[1].ended, "2026-01-03T00:00:00Z");
    EXPECT_EQ(read[1].seconds, 5.5);
    EXPECT_TRUE(read_sessions(file.string() + ".absent").empty());
}

TEST(RunSessionsOfAFolderThatCannotBeWritten, DoNotDisturbTheTraining) {
    const SessionRecord record("/nowhere/at/all/sessions.jsonl", session("a", 0));
}

}  // namespace
}  // namespace iwseg
