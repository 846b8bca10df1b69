#include "apps/demo.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "apps/config.h"

namespace iwseg {
namespace {

TEST(Demo, TrainsAsItsConfigurationFileSays) {
    const auto file = std::filesystem::path(IWSEG_GOLDEN_DIR) / "../../configs/demo.toml";
    Config demo = resolve_config(std::nullopt, demo_settings("iwdl"));
    EXPECT_EQ(demo.split.train.size(), 16u);
    EXPECT_EQ(demo.split.test.size(), 12u);
    demo.split = {};
    EXPECT_EQ(config_toml(demo), config_toml(resolve_config(file, {})));
}

TEST(Demo, RunsDifferInTheirLossAlone) {
    const Config dice = resolve_config(std::nullopt, demo_settings("dl"));
    const Config weighted = resolve_config(std::nullopt, demo_settings("iwdl"));
    EXPECT_EQ(differing_keys(dice, weighted), std::vector<std::string>{"loss"});
}

}  // namespace
}  // namespace iwseg
