#include "apps/prediction/model_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "apps/prediction/case_loop.h"
#include "apps/prediction/label_file.h"
#include "apps/prediction/memory_need.h"
#include "apps/prediction/output_folder.h"
#include "apps/terminal/interrupt.h"
#include "base/error.h"
#include "data/scan_listing.h"
#include "data/volume/formats.h"
#include "nnunet/npz.h"
#include "nnunet/predictor.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using nnunet::Model;
using nnunet::NnunetPredictor;
using nnunet::Segmentation;

std::vector<Case> find_cases(const ModelRun& run, const Model& model) {
    const ListingOptions options{{model.dataset.channels}, run.cases};
    const bool is_folder = run.input.size() == 1 && fs::is_directory(run.input.front());
    const ScanListing listing =
        is_folder ? list_scan_folder(run.input.front(), options) : list_scan_files(run.input, options);
    for (const std::string& note : listing.notes) fmt::print("note     {}\n", note);
    return listing.cases;
}

/// A volume a channel, all of one geometry.
std::vector<Volume<float>> read_channels(const Case& scan, std::size_t count) {
    std::vector<Volume<float>> channels;
    for (std::size_t c = 0; c < count; ++c) {
        const bool together = scan.images.size() == 1 && count > 1;
        const fs::path& file = together ? scan.images.front() : scan.images.at(c);
        channels.push_back(together ? read_channel(file, static_cast<std::int64_t>(c)) : read_image(file));
        require_same_geometry(channels.front().geometry, scan.images.front(), channels.back().geometry, file);
    }
    return channels;
}

std::string patches_text(const Model& model, const ModelRun& run) {
    const Sides& patch = model.plans.configuration.patch;
    std::string text =
        fmt::format("{} x {} x {} voxels, {:g} of their side apart", patch.d, patch.h, patch.w, run.step_size);
    if (!run.mirror || model.notes.mirror.empty()) return text + ", not mirrored";
    return text + fmt::format(", mirrored along axes {}", fmt::join(model.notes.mirror, ", "));
}

}  // namespace

void predict_with_model(const ModelRun& run) {
    if (run.precision != "fp32" && run.precision != "bf16")
        throw InputError("--precision " + run.precision + " is unknown: expected fp32 or bf16");
    const Model model = nnunet::open_model(run.model, {run.folds, run.checkpoint});
    const std::string ending = model.dataset.file_ending;
    if (!is_written(ending))
        throw InputError(fmt::format("{} asks for results as {}, which cannot be written: expected {}",
                                     (run.model / "dataset.json").string(), ending, written_endings()));
    const std::vector<Case> cases = find_cases(run, model);
    const Context context({.device = run.device, .threads = run.threads});
    fmt::print("device   {}\n", context.description());
    fmt::print("model    {} of {}, {}: {}\n", model.notes.configuration, run.model.string(),
               fmt::join(model.folds, ", "), model.plans.network.name);
    fmt::print("patches  {}\n", patches_text(model, run));
    const OutputFolder folder(run.out, "prediction");
    NnunetPredictor predictor(context, model,
                              {.step = run.step_size,
                               .mirror = run.mirror,
                               .probabilities = run.probabilities,
                               .bf16 = run.precision == "bf16"});
    std::vector<MemoryNeed> needs;
    for (const Case& scan : cases) {
        const Geometry geometry = read_geometry(scan.images.front());
        const bool later = !needs.empty();
        // A packed file is inflated beside the channels that were read before it.
        const std::int64_t before = 4 * (std::ssize(model.dataset.channels) - 1) * geometry.voxels();
        const std::int64_t reading =
            before + reading_bytes(scan.images.front()) + (later ? predictor.lasting_bytes() : 0);
        needs.push_back({scan.name, geometry.shape, std::max(reading, predictor.bytes(geometry, later))});
    }
    fmt::print("{}", memory_sentence(needs, "predicting"));
    const InterruptGuard guard;
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const Case& scan = cases[i];
        std::vector<Volume<float>> channels = read_channels(scan, model.dataset.channels.size());
        const Extent shape = channels.front().geometry.shape;
        print_case(scan, i, cases.size(), shape);
        Segmentation made;
        with_progress(scan,
                      [&](const PatchProgress& progress) { made = predictor.predict(std::move(channels), progress); });
        if (run.probabilities)
            nnunet::write_npz(
                run.out / (scan.name + ".npz"), "probabilities",
                {model.dataset.labels.outputs(), made.array_sides[0], made.array_sides[1], made.array_sides[2]},
                made.probabilities);
        write_label_file(run.out / (scan.name + ending), made.geometry, std::move(made.labels));
    }
    fmt::print("written  {}\n", run.out.string());
}

}  // namespace iwseg
