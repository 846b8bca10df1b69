#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using std::filesystem::path;

class AtomicFiles : public testing::Test {
  protected:
    AtomicFiles() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_atomic_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
        file_ = folder_ / "x.json";
    }
    ~AtomicFiles() override { std::filesystem::remove_all(folder_); }

    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
    }

    path folder_, file_;
};

TEST_F(AtomicFiles, AFileThatCannotBeReadToItsEndIsRefused) {
    // A process's memory opens, but nothing is mapped at address 0.
    EXPECT_TRUE(says(refusal([] { read_text("/proc/self/mem"); }), "cannot read /proc/self/mem: Input/output error"));
    EXPECT_TRUE(says(refusal([&] { read_text(folder_); }), "it is a folder"));
    EXPECT_TRUE(says(refusal([&] { read_text(folder_ / "absent"); }), "No such file"));
}

TEST_F(AtomicFiles, TextOfAnySizeIsReadWhole) {
    std::mt19937 random(std::random_device{}());
    for (const std::size_t size : {0, 1, 4095, 4096, 65535, 65536, 65537, 300'001}) {
        std::string text(size, '\0');
        for (char& c : text) c = static_cast<char>(random());
        write_text(file_, text);
        EXPECT_TRUE(read_text(file_) == text) << size;
        // A pipe gives no size, and a few bytes at a time.
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        std::thread writer([&] {
            for (std::size_t at = 0; at < size;)
                at += static_cast<std::size_t>(::write(ends[1], text.data() + at, size - at));
            ::close(ends[1]);
        });
        EXPECT_TRUE(read_text("/proc/self/fd/" + std::to_string(ends[0])) == text) << size;
        writer.join();
        ::close(ends[0]);
    }
    EXPECT_FALSE(read_text("/proc/self/status").empty()) << "its size is said to be 0";
}

TEST_F(AtomicFiles, OfTwoWhoWriteOneFileTheSecondIsRefused) {
    {
        AtomicFile first(file_);
        first.write("the first's ");
        EXPECT_TRUE(says(refusal([&] { AtomicFile second(file_); }), "x.json: another process is writing it"));
        first.write("text");
        first.commit();
        EXPECT_EQ(read_text(file_), "the first's text");
        write_text(file_, "free again, though the first is still there");
    }
    EXPECT_EQ(read_text(file_), "free again, though the first is still there");
    { AtomicFile dropped(file_); }
    EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFiles, WhatAKilledProcessLeftIsUsedAgain) {
    std::ofstream(folder_ / "x.json.part") << "a torn text that is longer";
    write_text(file_, "short");
    EXPECT_EQ(read_text(file_), "short");
    EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFiles, EveryTextOfManyWritersIsWhole) {
    constexpr int kWriters = 4, kTexts = 40;
    for (int writer = 0; writer < kWriters; ++writer)
        if (::fork() == 0) {
            for (int n = 0; n < kTexts; ++n) try {
                    AtomicFile out(file_);
                    for (int part = 0; part < 20; ++part) out.write(std::string(50, static_cast<char>('a' + writer)));
                    out.commit();
                } catch (const InputError&) {  // another was writing
                }
            ::_exit(0);
        }
    int torn = 0;
    for (int left = kWriters, status = 0; left > 0; left -= ::waitpid(-1, &status, WNOHANG) > 0)
        if (std::filesystem::exists(file_)) {
            const std::string text = read_text(file_);
            torn += text.size() != 1000 || text != std::string(1000, text[0]);
        }
    EXPECT_EQ(torn, 0);
    EXPECT_EQ(files(), 1u);
}

}  // namespace
}  // namespace iwseg
