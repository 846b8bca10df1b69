#include "data/phantom.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>

#include "apps/commands/commands.h"
#include "apps/terminal/progress.h"

namespace iwseg {

void add_phantom_command(CLI::App& app) {
    CLI::App* command = app.add_subcommand("phantom", "Make a dataset of CT-like phantom scans with lesions");
    const auto options = std::make_shared<PhantomOptions>();
    command->add_option("--out", options->folder, "folder of the new dataset")->type_name("DATASET")->required();
    command->add_option("--cases", options->cases, "number of scans")->required();
    command->add_option("--size", options->size, "voxels along the first two axes; the third has 3/4")
        ->capture_default_str();
    command->add_option("--seed", options->seed, "the same seed gives the same scans")->capture_default_str();
    const std::map<std::string, PhantomKind> kinds{{"even", PhantomKind::even}, {"fading", PhantomKind::fading}};
    command
        ->add_option("--kind", options->kind,
                     "even: lesions of all sizes stand out alike; fading: the smaller, the fainter")
        ->transform(CLI::CheckedTransformer(kinds, CLI::ignore_case))
        ->type_name("even|fading")
        ->default_str("even");
    command->footer("Example:\n  iwseg phantom --out phantom --cases 20 --size 96");
    command->callback([options] {
        Progress progress("phantom", options->cases, "scans");
        write_phantom_dataset(*options, [&](std::int64_t done, std::int64_t) { progress.update(done); });
        fmt::print("{} scans in {}\n", options->cases, options->folder.string());
    });
}

}  // namespace iwseg
