#include "base/folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/dataset.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
  protected:
    void SetUp() override { fs::create_directories(folder_ / "inside"); }
    void TearDown() override {
        fs::permissions(folder_ / "inside", fs::perms::owner_all);
        fs::remove_all(folder_);
    }
    /// The sentence it is refused with; empty where it is not.
    template <class Work>
    static std::string refusal(Work&& work) {
        try {
            work();
        } catch (const InputError& error) {
            return error.what();
        }
        return "";
    }
    fs::path folder_ = fs::path(testing::TempDir()) / fmt::format("folder_{}", ::getpid());
};

TEST_F(Folder, WhatIsNoFolderIsSaidInOneSentence) {
    write_text(folder_ / "file", "text");
    const auto require = [](const fs::path& path) { return refusal([&] { require_folder(path, "dataset folder"); }); };
    EXPECT_EQ(require(folder_), "");
    EXPECT_EQ(require(folder_ / "inside/"), "") << "with a slash at the end";
    EXPECT_EQ(require(""), "the dataset folder has no name: an empty string was given");
    EXPECT_EQ(require(folder_ / "nope"), fmt::format("the dataset folder {}/nope does not exist", folder_.string()));
    EXPECT_EQ(require(folder_ / "file"),
              fmt::format("{}/file is a file, but a dataset folder was expected", folder_.string()));
    EXPECT_NE(require(folder_ / "file/nope").find("does not exist"), std::string::npos) << "below a file";
}

TEST_F(Folder, ADatasetIsAskedForInTheSameWords) {
    EXPECT_EQ(refusal([&] { open_dataset(folder_ / "nope"); }),
              fmt::format("the dataset folder {}/nope does not exist", folder_.string()));
}

TEST_F(Folder, OneThatMayNotBeReadIsSaid) {
    if (::geteuid() == 0) GTEST_SKIP() << "root may read every folder";
    fs::permissions(folder_ / "inside", fs::perms::none);
    const std::string sentence = refusal([&] { require_folder(folder_ / "inside", "dataset folder"); });
    EXPECT_TRUE(sentence.ends_with("inside cannot be read: Permission denied")) << sentence;
}

TEST(FileSystemError, IsTheFileAndTheReason) {
    const fs::filesystem_error error("directory iterator cannot open directory", "data/imagesTr",
                                     std::make_error_code(std::errc::permission_denied));
    EXPECT_EQ(sentence_of(error), "cannot use data/imagesTr: Permission denied");
}

}  // namespace
}  // namespace iwseg
