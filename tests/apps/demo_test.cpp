#include "apps/commands/demo.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "apps/config/config.h"

namespace iwseg {
namespace {

Config config_of(const DemoRun& run) {
    return resolve_config(std::nullopt, demo_settings(run));
}

TEST(Demo, TrainsAsItsConfigurationFileSays) {
    const auto file = std::filesystem::path(IWSEG_GOLDEN_DIR) / "../../configs/demo.toml";
    Config demo = config_of(demo_runs().back());
    EXPECT_EQ(demo.split.train.size(), 16u);
    EXPECT_EQ(demo.split.test.size(), 24u);
    demo.split = {};
    EXPECT_EQ(config_toml(demo), config_toml(resolve_config(file, {})));
}

TEST(Demo, RunsDifferInTheirLossAlone) {
    ASSERT_EQ(demo_runs().size(), 2u);
    const Config plain = config_of(demo_runs()[0]), weighted = config_of(demo_runs()[1]);
    EXPECT_EQ(differing_keys(plain, weighted), std::vector<std::string>{"loss"});
    EXPECT_EQ(plain.loss.find("iw"), std::string::npos);
    EXPECT_NE(weighted.loss.find("iw"), std::string::npos);
}

}  // namespace
}  // namespace iwseg
