// A training's log, from scans resident on a device and from the host's batches.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/run_folder/run_folder.h"
#include "apps/training/training_run.h"
#include "data/phantom.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

class ResidentLog : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
};

// A whole training with its log: what is said of each batch is the same on the host's path and on the device's.
TEST_P(ResidentLog, IsTheSameAsTheHosts) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                         ("iwseg_resident_" + std::to_string(getpid()) + "_" + std::to_string(seed));
    write_phantom_dataset({folder / "data", 2, 32, seed, 1});
    Config config;
    config.widths = {2, 3, 4, 4};
    config.patch = {16, 16, 8};
    config.steps_per_epoch = 3;
    config.epochs = 1;
    config.components = "patch";
    config.augment = {true, true};
    config.split.train = {"phantom_000"};
    config.split.test = {"phantom_001"};
    const auto log = [&](const Backend& backend, const char* name, bool resident) {
        Context context(backend, {.threads = 1});
        const RunFolder run(folder / name);
        testing::internal::CaptureStdout();
        iwseg::train(context, config, folder / "data", run);
        EXPECT_EQ(testing::internal::GetCapturedStdout().find("scans    resident on the GPU") != std::string::npos,
                  resident);
        std::vector<nlohmann::json> lines;
        std::ifstream in(run.log());
        for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
        return lines;
    };
    const auto host = log(cpu::backend(), "host", false), device = log(backend_of(GetParam()), "device", true);
    ASSERT_EQ(host.size(), 3u);
    ASSERT_EQ(device.size(), 3u);
    for (std::size_t step = 0; step < 3; ++step) {
        for (const char* key : {"step", "epoch", "rate", "lesion_voxels", "components"})
            EXPECT_EQ(device[step].at(key), host[step].at(key));
        EXPECT_EQ(device[step].at("wait"), 0.0);
        EXPECT_GE(device[step].at("seconds"), 0.0);
    }
    // Sums of f32 in another order, before the first update spreads the difference.
    EXPECT_NEAR(device[0].at("loss").get<double>(), host[0].at("loss").get<double>(), 1e-4);
    std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Backends, ResidentLog, testing::Values(TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg
