#include "apps/bench/bench_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "apps/commands/commands.h"
#include "apps/commands/finite.h"

namespace iwseg {
namespace {

bool one_of(const std::string& name, std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

void add_measurement(CLI::App& bench, const std::string& name, const std::string& what, const std::string& example,
                     void (*run)(const BenchOptions&)) {
    auto options = std::make_shared<BenchOptions>();
    if (name == "patch") options->patch = 96, options->batch = 1;
    CLI::App* app = bench.add_subcommand(name, what);
    app->footer("Example:\n  iwseg bench " + example);
    const auto positive = [](int most) { return CLI::Range(1, most); };
    if (!one_of(name, {"floor", "read"})) {
        app->add_option("--device", options->device, "auto, cpu or cuda");
        app->add_option("--threads", options->threads, "threads; 0: as many as the processor has cores");
    }
    if (!one_of(name, {"floor", "predict"}))
        app->add_option("--steps", options->steps, "repetitions after a first one that is left out")
            ->check(positive(100000));
    if (name != "floor") app->add_flag("--json", options->json, "one JSON object instead of text");
    if (one_of(name, {"step", "kernels", "floor", "predict", "patch", "weights", "loss"}))
        app->add_option("--patch", options->patch, "voxels along each axis")->check(positive(1024));
    if (one_of(name, {"step", "kernels", "floor", "patch", "weights", "loss"}))
        app->add_option("--batch", options->batch, "patches at once")->check(positive(4096));
    if (one_of(name, {"step", "kernels", "floor", "predict", "patch"})) {
        app->add_option("--network", options->network, "by its name in a configuration (unet, plain_unet, …)");
        app->add_option("--widths", options->widths, "channels of its levels, four of unet")
            ->expected(2, 9)
            ->check(positive(4096));
        app->add_option("--precision", options->precision, "fp32 or bf16");
    }
    if (one_of(name, {"step", "kernels", "floor"}))
        app->add_option("--loss", options->loss, "one of the ten, or a sum of terms");
    if (one_of(name, {"label", "weights", "loss"}))
        app->add_option("--connectivity", options->connectivity, "6, 18 or 26");
    if (one_of(name, {"label", "predict"}))
        app->add_option("--size", options->size, "voxels along each axis of the scan")->check(positive(2048));
    if (name == "label") {
        app->add_option("--mask", options->mask, "a mask to label; else noise of --size");
        app->add_option("--density", options->density, "the share of lesion voxels in the noise")
            ->check(CLI::Range(0.0, 1.0))
            ->check(finite());
    } else if (name == "floor") {
        app->add_option("--bandwidth", options->rates.bytes, "bytes a second");
        app->add_option("--operations", options->rates.operations, "multiplications and additions a second");
    } else if (name == "predict") {
        app->add_option("--shape", options->shape, "voxels of the scan along each axis, where they differ")
            ->expected(3)
            ->check(positive(4096));
        app->add_option("--stride", options->stride, "voxels between patches; 0: nine tenths of a patch");
    } else if (name == "read") {
        app->add_option("--image", options->image, "a .nii or .nii.gz file")->required();
    }
    app->callback([options, run] { run(*options); });
}

}  // namespace

void add_bench_command(CLI::App& app) {
    CLI::App* bench =
        app.add_subcommand("bench", "Time a training step and its parts, prediction, labelling or reading");
    bench->require_subcommand(1);
    bench->footer("Example:\n  iwseg bench step --patch 64 --batch 2 --json");
    add_measurement(*bench, "step", "A whole training step: forward, loss, backward, update",
                    "step --patch 64 --batch 2 --precision bf16 --json", bench_step);
    add_measurement(*bench, "kernels", "Every kernel of a training step: time, arithmetic, bytes", "kernels --patch 64",
                    bench_kernels);
    add_measurement(*bench, "floor", "What each kernel of a training step costs at least on a GPU",
                    "floor --patch 128 --batch 2 --precision bf16", bench_floor);
    add_measurement(*bench, "label", "Connected components of a mask", "label --mask lesions.nii.gz", bench_label);
    add_measurement(*bench, "weights", "Components of patches and their inverse weights",
                    "weights --patch 128 --batch 1", bench_weights);
    add_measurement(*bench, "loss", "Each of the ten losses, other terms and sums, with its gradient",
                    "loss --patch 128 --batch 2", bench_loss);
    add_measurement(*bench, "predict", "Prediction of a whole scan by a grid of patches",
                    "predict --size 192 --patch 96", bench_predict);
    add_measurement(*bench, "patch", "One patch predicted, and every kernel of it: time, arithmetic, bytes",
                    "patch --patch 96 --precision bf16", bench_patch);
    add_measurement(*bench, "read", "Reading a scan from its file", "read --image scan.nii.gz", bench_read);
}

}  // namespace iwseg
