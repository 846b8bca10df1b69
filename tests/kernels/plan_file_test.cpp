#include "kernels/convolution/plan_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class PlanFiles : public testing::Test {
  protected:
    ~PlanFiles() override { fs::remove_all(folder_); }
    const fs::path folder_ = fs::path(testing::TempDir()) / ("plan_file_" + std::to_string(::getpid()));
    const std::string path_ = (folder_ / "deep/plans.txt").string();
};

TEST_F(PlanFiles, WhatIsStoredIsFoundAndTheLastCounts) {
    const PlanFile file(path_);
    EXPECT_FALSE(file.find("a"));
    EXPECT_TRUE(file.store("a", "1"));
    EXPECT_TRUE(file.store("b, with spaces", "2 3:4=5"));
    EXPECT_TRUE(file.store("a", "6"));
    EXPECT_EQ(PlanFile(path_).find("a"), "6");
    EXPECT_EQ(PlanFile(path_).find("b, with spaces"), "2 3:4=5");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "deep"), {}), 1) << "nothing else is left in the folder";
}

TEST_F(PlanFiles, NowhereKeepsNothing) {
    EXPECT_FALSE(PlanFile("").store("a", "1"));
    EXPECT_FALSE(PlanFile("").find("a"));
    std::ofstream(testing::TempDir() + "/a_file") << "x";
    EXPECT_FALSE(PlanFile(testing::TempDir() + "/a_file/plans.txt").store("a", "1"));
    fs::remove(testing::TempDir() + "/a_file");
}

TEST_F(PlanFiles, ProcessesThatStoreAtOnceLoseNothing) {
    constexpr int kProcesses = 8, kKeys = 20;
    for (int process = 0; process < kProcesses; ++process)
        if (::fork() == 0) {
            bool stored = true;
            for (int key = 0; key < kKeys; ++key)
                stored &= PlanFile(path_).store(std::to_string(process) + "." + std::to_string(key), "v");
            ::_exit(stored ? 0 : 1);
        }
    int status = 0;
    for (int process = 0; process < kProcesses; ++process) {
        ASSERT_GT(::wait(&status), 0);
        EXPECT_EQ(status, 0);
    }
    for (int process = 0; process < kProcesses; ++process)
        for (int key = 0; key < kKeys; ++key)
            EXPECT_TRUE(PlanFile(path_).find(std::to_string(process) + "." + std::to_string(key)))
                << process << "." << key;
}

}  // namespace
}  // namespace iwseg
