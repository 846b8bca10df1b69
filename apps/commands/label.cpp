#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/commands/commands.h"
#include "apps/prediction/memory_need.h"
#include "base/error.h"
#include "data/lesion_labels.h"
#include "data/volume/formats.h"
#include "data/volume/volume.h"
#include "kernels/components/components.h"
#include "kernels/components/components_of.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/cpu/thread_count.h"
#include "kernels/cpu/thread_pool.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct LabelArguments {
    fs::path mask, out, weights;
    int connectivity = 26;
};

bool same_file(const fs::path& a, const fs::path& b) {
    return fs::weakly_canonical(a) == fs::weakly_canonical(b);
}

void require_own_names(const LabelArguments& arguments) {
    for (const fs::path& written : {arguments.out, arguments.weights})
        if (!written.empty() && same_file(written, arguments.mask))
            throw InputError("the result " + written.string() + " would replace the mask: expected another name");
    if (same_file(arguments.out, arguments.weights))
        throw InputError("labels and weights would both be written to " + arguments.out.string() +
                         ": expected two names");
}

void run_label(const LabelArguments& arguments) {
    require_own_names(arguments);
    fmt::print("{}", memory_sentence({labelling_need(arguments.mask, !arguments.weights.empty())}, "labelling"));
    Volume<std::int32_t> volume = read_labels(arguments.mask);
    const Geometry& geometry = volume.geometry;
    if (geometry.voxels() > kMostVoxels)
        throw InputError(fmt::format("{} has {} voxels; expected at most {}", arguments.mask.string(),
                                     geometry.voxels(), kMostVoxels));
    const Shape shape{1, 1, geometry.shape[0], geometry.shape[1], geometry.shape[2]};
    std::vector<std::uint8_t> mask = LesionLabels().mask_of(volume, arguments.mask).lesion;
    const View labels{volume.voxels.data(), shape, Type::i32};
    ThreadPool threads(count_threads().threads);
    const Stream host = threads.stream();
    const auto start = std::chrono::steady_clock::now();
    const std::int32_t count = components_of(mask, geometry.shape, arguments.connectivity, volume.voxels, host);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const std::int64_t foreground = shape.voxels() - std::count(mask.begin(), mask.end(), 0);
    mask = std::vector<std::uint8_t>();  // no longer held while labels are written
    write_volume(arguments.out, volume);
    fmt::print("{} components, {} voxels of {}, labelled in {:.4f} s: {}\n", count, foreground, shape.voxels(),
               seconds.count(), arguments.out.string());
    if (arguments.weights.empty()) return;
    std::vector<float> table(static_cast<std::size_t>(count) + 1);
    cpu::inverse_weight_table(host, labels, table.data(), count + 1, {});
    Volume<float> weights{geometry, std::vector<float>(volume.voxels.size())};
    cpu::look_up_weights(host, labels, table.data(), count + 1, {weights.voxels.data(), shape, Type::f32});
    write_volume(arguments.weights, weights);
    const auto [least, most] = std::minmax_element(weights.voxels.begin(), weights.voxels.end());
    fmt::print("inverse weights from {:g} to {:g}: {}\n", *least, *most, arguments.weights.string());
}

}  // namespace

void add_label_command(CLI::App& app) {
    auto arguments = std::make_shared<LabelArguments>();
    CLI::App* command = app.add_subcommand("label", "Number the connected components of a mask");
    command->add_option("MASK", arguments->mask, "mask in " + known_endings() + "; values above 0 are foreground")
        ->required();
    command->add_option("--out", arguments->out, "labels to write, in the raster order of first voxels")
        ->type_name("FILE")
        ->required();
    command->add_option("--connectivity", arguments->connectivity, "neighbours of a voxel: 6, 18 or 26")
        ->check(CLI::IsMember(std::vector<int>(kConnectivities.begin(), kConnectivities.end())))
        ->capture_default_str();
    command->add_option("--weights", arguments->weights, "inverse weights of the whole volume to write too");
    command->footer(
        "Example:\n  iwseg label case_mask.nii.gz --out case_labels.nii.gz \\\n      --weights case_weights.nii.gz");
    command->callback([arguments] { run_label(*arguments); });
}

}  // namespace iwseg
