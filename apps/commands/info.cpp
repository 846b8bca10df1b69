#include <fmt/format.h>
#include <toml++/toml.h>
#include <zlib.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/version.h"
#include "engine/context.h"
#include "kernels/device/backend.h"
#include "kernels/device/build_facts.h"

namespace iwseg {
namespace {

void run_info(const std::string& device) {
    const Context context({.device = device});
    fmt::print("iwseg     {}\n", kVersion);
    fmt::print("device    {}\n", context.backend().name);
    fmt::print("computes  on {}\n", context.description());
    const std::string no_gpu = cuda::why_unavailable();
    fmt::print("CUDA      {}\n", no_gpu.empty() ? "built in, and a GPU is here" : "not used: " + no_gpu);
    fmt::print("oneDNN    {}\n", cpu::onednn_version());
    fmt::print("compiler  {}\n", __VERSION__);
    fmt::print("fmt       {}.{}.{}\n", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
    fmt::print("CLI11     {}\n", CLI11_VERSION);
    fmt::print("toml++    {}.{}.{}\n", TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH);
    fmt::print("json      {}.{}.{}\n", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
               NLOHMANN_JSON_VERSION_PATCH);
    fmt::print("zlib      {}\n", zlibVersion());
}

}  // namespace

void add_info_command(CLI::App& app) {
    CLI::App* command = app.add_subcommand("info", "Say what this build is and what it computes on");
    command->footer("Example:\n  iwseg info");
    auto device = std::make_shared<std::string>("auto");
    command->add_option("--device", *device, "auto, cpu or cuda");
    command->callback([device] { run_info(*device); });
}

}  // namespace iwseg
