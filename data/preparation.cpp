#include "data/preparation.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <exception>
#include <future>
#include <mutex>
#include <thread>

#include "base/bytes.h"
#include "base/error.h"
#include "data/channel_choice.h"
#include "kernels/components/components.h"
#include "kernels/device/memory.h"

namespace iwseg {
namespace {

Volume<float> read_case_channel(const Dataset& dataset, const Case& scan, std::int64_t channel) {
    const auto files = static_cast<std::int64_t>(scan.images.size());
    if (files == 1 && dataset.channels.size() > 1) return read_channel(scan.images[0], channel);
    if (channel >= files)
        throw InputError(
            fmt::format("case {} has {} image files, so there is no channel {}", scan.name, files, channel));
    return read_image(scan.images[channel]);
}

const std::filesystem::path& file_of(const Case& scan, std::int64_t channel) {
    return scan.images.size() == 1 ? scan.images[0] : scan.images[channel];
}

struct LabelOfCase {
    ComponentList lesions;
    std::vector<std::uint8_t> ignored;
};

LabelOfCase read_label(const Dataset& dataset, const Case& scan, const Geometry& geometry,
                       const PreparationOptions& options) {
    if (!scan.label) throw InputError("case " + scan.name + " has no label file, which is expected in labelsTr");
    const bool of_classes = options.classes.any();
    const LesionLabels meaning(dataset.label_names, of_classes ? options.classes.values() : options.labels);
    const Volume<std::int32_t> labels = read_labels(*scan.label);
    require_same_geometry(geometry, file_of(scan, 0), labels.geometry, *scan.label);
    if (of_classes) {
        const std::vector<std::uint8_t> map = options.classes.map_of(labels, scan.label->string(), dataset.label_names);
        return {list_class_components(map, options.classes.labels(), geometry.shape, options.connectivity),
                meaning.mask_of(labels, *scan.label).ignored};
    }
    LabelMask mask = meaning.mask_of(labels, *scan.label);
    return {list_components(mask.lesion, geometry.shape, options.connectivity), std::move(mask.ignored)};
}

/// One file that holds all channels holds no others.
void require_channels(const Dataset& dataset, const Case& scan) {
    if (scan.images.size() != 1 || dataset.channels.size() == 1) return;
    const std::int64_t found = read_channel_count(scan.images[0]);
    if (found != static_cast<std::int64_t>(dataset.channels.size()))
        throw InputError(fmt::format("{} holds {} channel{} along its fourth axis, but {} {} expected: {}",
                                     scan.images[0].string(), found, found == 1 ? "" : "s", dataset.channels.size(),
                                     dataset.channels.size() == 1 ? "was" : "were", fmt::join(dataset.channels, ", ")));
}

}  // namespace

std::vector<TrainingScan> scans_to_train_on(const std::vector<PreparedCase>& cases) {
    std::vector<TrainingScan> scans;
    for (const PreparedCase& scan : cases)
        scans.push_back({scan.geometry.shape, scan.channels, scan.image.data(), scan.minimum.data(), &scan.lesions,
                         scan.ignored.empty() ? nullptr : scan.ignored.data()});
    return scans;
}

std::vector<std::filesystem::path> files_to_read(const Dataset& dataset, const Case& scan,
                                                 const PreparationOptions& options) {
    require_channels(dataset, scan);
    std::vector<std::filesystem::path> files;
    if (!options.mask_channel.empty()) files.push_back(file_of(scan, *mask_channel(dataset, options)));
    for (const std::int64_t channel : selected_channels(dataset, options)) files.push_back(file_of(scan, channel));
    return files;
}

PreparedCase prepare_case(const Dataset& dataset, const Case& scan, const PreparationOptions& options, int threads) {
    const std::vector<std::int64_t> channels = selected_channels(dataset, options);
    require_channels(dataset, scan);
    PreparedCase prepared;
    prepared.name = scan.name;
    prepared.channels = static_cast<std::int64_t>(channels.size());
    prepared.geometry = read_geometry(file_of(scan, channels[0]));
    std::atomic<std::int64_t> replaced = 0;
    const auto read = [&](std::int64_t channel, std::optional<float> replacement) {
        Volume<float> volume = read_case_channel(dataset, scan, channel);
        replaced += replace_not_finite(volume.voxels, replacement, file_of(scan, channel).string());
        require_same_geometry(prepared.geometry, file_of(scan, channels[0]), volume.geometry, file_of(scan, channel));
        return std::move(volume.voxels);
    };
    std::vector<float> mask;
    if (!options.mask_channel.empty()) mask = read(*mask_channel(dataset, options), mask_replacement(options.nan));
    struct Channel {
        std::vector<float> values;
        float minimum;
    };
    // Deferred, a task runs when its result is asked for: the same work one after the other.
    const std::launch when = threads > 1 ? std::launch::async : std::launch::deferred;
    std::vector<std::future<Channel>> images;
    for (const std::int64_t channel : channels)
        images.push_back(std::async(when, [&, channel] {
            std::vector<float> values = read(channel, options.nan);
            const float minimum = prepare_channel(values, mask, options.intensity);
            return Channel{std::move(values), minimum};
        }));
    std::future<LabelOfCase> label;
    if (options.with_label)
        label = std::async(when, [&] { return read_label(dataset, scan, prepared.geometry, options); });
    for (std::future<Channel>& image : images) {
        Channel channel = image.get();
        prepared.minimum.push_back(channel.minimum);
        if (channels.size() == 1)
            prepared.image = std::move(channel.values);
        else {
            prepared.image.reserve(channels.size() * channel.values.size());  // never twice, as growing would
            prepared.image.insert(prepared.image.end(), channel.values.begin(), channel.values.end());
        }
    }
    prepared.replaced = replaced;
    if (options.with_label) {
        LabelOfCase read_of_case = label.get();
        prepared.lesions = std::move(read_of_case.lesions);
        prepared.ignored = std::move(read_of_case.ignored);
    }
    if (const auto count = dataset.lesion_counts.find(scan.name); count != dataset.lesion_counts.end())
        prepared.lesion_count = count->second;
    return prepared;
}

void ReplacedVoxels::add(const PreparedCase& scan) {
    scans_ += scan.replaced > 0;
    voxels_ += scan.replaced;
}

std::string ReplacedVoxels::line(const PreparationOptions& options) const {
    if (voxels_ == 0) return "";
    return fmt::format("nan      {} voxels of {} scan{} were not finite and became {}\n", voxels_, scans_,
                       scans_ == 1 ? "" : "s", options.nan.value_or(0));
}

std::int64_t memory_of_cases(const Dataset& dataset, const std::vector<std::string>& names,
                             const PreparationOptions& options) {
    const std::vector<std::int64_t> channels = selected_channels(dataset, options);
    double bytes = 0;  // headers may lie: it must not overflow
    for (const std::string& name : names) {
        const Case& scan = dataset.find(name);
        require_channels(dataset, scan);
        const auto shape = read_geometry(file_of(scan, channels[0])).shape;
        bytes += static_cast<double>(shape[0]) * static_cast<double>(shape[1]) * static_cast<double>(shape[2]) *
                 static_cast<double>(channels.size() * sizeof(float) + (dataset.label_names.ignore ? 1 : 0));
    }
    return static_cast<std::int64_t>(std::min(bytes, 1e18));
}

std::vector<PreparedCase> prepare_training_cases(const Dataset& dataset, const std::vector<std::string>& names,
                                                 const PreparationOptions& options, int threads,
                                                 const CaseProgress& progress) {
    // Said before an hour of reading, not by the kernel that kills.
    if (const std::int64_t needed = memory_of_cases(dataset, names, options), free = cpu::free_memory(); needed > free)
        throw InputError(
            fmt::format("the {} scans to train on need {} of memory (4 bytes a voxel and channel{}), but {} are "
                        "free; train on fewer scans or channels, or on a machine with more",
                        names.size(), gigabytes(needed), dataset.label_names.ignore ? ", 1 for what is ignored" : "",
                        gigabytes(free)));
    std::vector<PreparedCase> cases(names.size());
    std::atomic<std::size_t> next = 0;
    std::int64_t done = 0;
    std::mutex mutex;
    std::exception_ptr error;
    const int threads_of_case = std::max(1, threads / std::max(1, static_cast<int>(names.size())));
    const auto work = [&] {
        for (std::size_t i = next++; i < names.size(); i = next++) {
            try {
                cases[i] = prepare_case(dataset, dataset.find(names[i]), options, threads_of_case);
                const std::scoped_lock lock(mutex);
                if (progress) progress(++done, static_cast<std::int64_t>(names.size()));
            } catch (...) {
                const std::scoped_lock lock(mutex);
                if (!error) error = std::current_exception();
                next = names.size();
            }
        }
    };
    std::vector<std::jthread> workers;
    for (int t = 0; t < std::clamp(threads, 1, static_cast<int>(names.size() + 1)); ++t) workers.emplace_back(work);
    workers.clear();  // joins
    if (error) std::rethrow_exception(error);
    if (std::all_of(cases.begin(), cases.end(), [](const auto& scan) { return scan.lesions.size() == 0; }))
        throw InputError(
            fmt::format("{} has no lesion in any of the {} labels to train on", dataset.folder.string(), names.size()));
    return cases;
}

}  // namespace iwseg
