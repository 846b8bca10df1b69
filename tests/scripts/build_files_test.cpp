#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>

#include "base/atomic_file.h"

namespace iwseg {
namespace {

const std::string kSource = IWSEG_SOURCE_DIR;

/// What a shell command prints on stdout and stderr, and its exit code.
std::pair<int, std::string> run(const std::string& command) {
    FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
    std::string text;
    for (int c; pipe && (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
    const int status = pipe ? ::pclose(pipe) : -1;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
}

TEST(BuildFiles, WarningsAreErrorsInTheTestsAndNotForUsers) {
    const auto presets = nlohmann::json::parse(read_text(kSource + "/CMakePresets.json"));
    for (const auto& preset : presets.at("configurePresets"))
        EXPECT_FALSE(preset.at("cacheVariables").contains("IWSEG_WERROR")) << preset.at("name");
    EXPECT_NE(read_text(kSource + "/scripts/test.sh").find("IWSEG_WERROR=ON"), std::string::npos);
}

TEST(BuildFiles, SetupNamesThePackagesOfOtherSystems) {
    for (const char* system : {"fedora", "arch", "opensuse", "conda"}) {
        const auto [code, text] = run(fmt::format("{}/scripts/setup.sh --list {}", kSource, system));
        EXPECT_EQ(code, 0) << text;
        for (const char* package : {"onednn", "fmt", "cli11", "tomlplusplus", "json", "libdeflate", "pugixml"})
            EXPECT_NE(text.find(package), std::string::npos) << system << ": " << package;
        EXPECT_NE(text.find("nifti2_io.h"), std::string::npos) << system;
    }
    const auto [code, text] = run(kSource + "/scripts/setup.sh --list beos");
    EXPECT_EQ(code, 2);
    EXPECT_NE(text.find("expected fedora, arch, opensuse or conda"), std::string::npos) << text;
}

TEST(BuildFiles, WithoutDebiansToolsSetupSaysWhatToInstallAndInstallsNothing) {
    // A PATH without dpkg-query.
    const auto [code, text] = run(fmt::format("PATH=/nowhere /bin/bash {}/scripts/setup.sh", kSource));
    EXPECT_EQ(code, 1);
    EXPECT_NE(text.find("not a Debian system"), std::string::npos) << text;
    EXPECT_NE(text.find("install"), std::string::npos) << text;
}

TEST(BuildFiles, ThePageOfTheInterfaceNamesEveryPublicHeaderButThoseOfSingleOperations) {
    const std::string page = read_text(kSource + "/docs/api.md");
    std::istringstream lines(read_text(kSource + "/include/iwseg/iwseg.h"));
    int headers = 0;
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("#include \"")) continue;
        const std::string header = line.substr(10, line.size() - 11);
        const std::string named = header.starts_with("engine/ops/") ? "engine/ops/NAME.h" : header;
        EXPECT_NE(page.find("`" + named + "`"), std::string::npos) << header;
        ++headers;
    }
    EXPECT_GT(headers, 40);
}

TEST(BuildFiles, BothContainersBuildAlikeAndHoldTheSameLibraries) {
    const std::string docker = read_text(kSource + "/containers/Dockerfile");
    const std::string apptainer = read_text(kSource + "/containers/iwseg.def");
    for (const char* part :
         {"scripts/setup.sh", "-D IWSEG_TESTS=OFF -D IWSEG_CUDA=OFF", "libdnnl2", "libgomp1", "libnifti2-2",
          "libdeflate0", "libpng16-16", "libpugixml1v5", "libfmt9", "zlib1g", "debian:bookworm-slim"}) {
        EXPECT_NE(docker.find(part), std::string::npos) << part;
        EXPECT_NE(apptainer.find(part), std::string::npos) << part;
    }
    EXPECT_NE(docker.find("\nUSER iwseg\n"), std::string::npos) << "not as root";
}

TEST(BuildFiles, WhatTheApptainerImageCopiesIsEnoughToConfigure) {
    const std::filesystem::path copy =
        std::filesystem::temp_directory_path() / ("iwseg_copy_" + std::to_string(std::random_device{}()));
    std::istringstream definition(read_text(kSource + "/containers/iwseg.def"));
    int copied = 0;
    bool is_file = false;
    for (std::string line; std::getline(definition, line);) {
        if (!line.starts_with(' ')) is_file = line == "%files";
        std::istringstream words(line);
        std::string from, to;
        if (!is_file || !(words >> from >> to)) continue;
        ASSERT_EQ(to, "/src/" + from);
        std::filesystem::create_directories(copy);
        std::filesystem::copy(kSource + "/" + from, copy / from, std::filesystem::copy_options::recursive);
        ++copied;
    }
    EXPECT_GT(copied, 10);
    const auto [code, text] = run(fmt::format(
        "cmake -S {0} -B {0}/build -D CMAKE_BUILD_TYPE=Release -D IWSEG_TESTS=OFF -D IWSEG_CUDA=OFF", copy.string()));
    EXPECT_EQ(code, 0) << text;
    std::filesystem::remove_all(copy);
}

}  // namespace
}  // namespace iwseg
