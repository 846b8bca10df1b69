#include "apps/prediction/class_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "apps/prediction/ensemble.h"
#include "apps/prediction/label_file.h"
#include "apps/prediction/memory_need.h"
#include "apps/prediction/output_folder.h"
#include "apps/prediction/prediction_files.h"
#include "apps/terminal/interrupt.h"
#include "apps/terminal/progress.h"
#include "base/error.h"
#include "base/folder.h"
#include "models/class_predictor.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// Channels of classes, background left out where there is one.
int first_class(const OutputClasses& classes) {
    return classes.regions ? 0 : 1;
}

class ClassRun {
  public:
    ClassRun(Context& context, const std::vector<TrainedNetwork>& networks, const PredictionOptions& options)
        : context_(context),
          options_(options),
          networks_(networks),
          predictor_(context, networks.front().architecture, windows_of(networks.front(), options),
                     networks.front().classes) {
        for (const TrainedNetwork& network : networks)
            predictor_.add_weights([&](Parameters& held) { held.load(network.weights); });
    }

    bool is_finished(const Case& scan) const {
        std::vector<fs::path> files;
        if (options_.mask) files.push_back(labels_file(scan));
        for (int k = first_class(classes()); k < classes().outputs(); ++k) {
            if (options_.probability) files.push_back(class_file(scan, k, "prob"));
            if (options_.logit) files.push_back(class_file(scan, k, "logit"));
        }
        for (const fs::path& file : files)
            for (const TrainedNetwork& network : networks_)
                if (!(options_.is_current ? fs::exists(file) : is_newer(file, network.weights))) return false;
        return !options_.is_current || options_.is_current(scan);
    }

    MemoryNeed need_of(const Dataset& dataset, const Case& scan, const PreparationOptions& reading) const {
        const Extent shape = read_geometry(scan.images.front()).shape;
        const std::int64_t voxels = shape[0] * shape[1] * shape[2];
        const auto channels = static_cast<std::int64_t>(networks_.front().architecture.in_channels);
        std::int64_t of_files = 0;
        for (const fs::path& file : files_to_read(dataset, scan, reading))
            of_files = std::max(of_files, reading_bytes(file));
        const std::int64_t image = 4 * channels * voxels, lasting = predictor_.lasting_bytes();
        const std::int64_t predicting = image + predictor_.bytes(shape, wants_logits());
        // A probability, and a volume in its file's order and compressed, beside labels and logits.
        const std::int64_t writing = lasting + 4 * (1 + (wants_logits() ? classes().outputs() + 1 : 0) + 2) * voxels;
        return {scan.name, shape, std::max({lasting + image + of_files, predicting, writing})};
    }

    void predict(const Case& scan, PreparedCase prepared) {
        const Geometry geometry = prepared.geometry;
        std::optional<Progress> progress;
        const auto advance = [&](std::int64_t done, std::int64_t all) {
            if (InterruptGuard::requested()) throw Interrupted("interrupted while predicting " + scan.name);
            if (!progress) progress.emplace("predict " + scan.name, all, "patches");
            progress->update(done);
        };
        ClassPrediction made;
        try {
            made = predictor_.predict(prepared.image.data(), geometry.shape, wants_logits(), advance);
        } catch (const NotFinite& error) {
            throw InputError(fmt::format("case {} ({}) cannot be predicted: {}", scan.name,
                                         scan.images.front().string(), error.what()));
        }
        prepared.image = std::vector<float>();  // no longer held while results are written
        const auto write = [&](int channel, const char* what, auto&& compute) {
            Volume<float> volume{geometry, {}};
            compute(context_.host(), made.logits, classes(), channel, volume.voxels);
            make_folder(class_file(scan, channel, what).parent_path());
            write_volume(class_file(scan, channel, what), volume);
        };
        for (int k = first_class(classes()); k < classes().outputs(); ++k) {
            if (options_.probability) write(k, "prob", class_probability);
            if (options_.logit) write(k, "logit", class_logit);
        }
        if (options_.mask) write_label_file(labels_file(scan), {geometry, std::move(made.labels)}, classes().values);
    }

  private:
    const OutputClasses& classes() const { return predictor_.classes(); }
    std::string ending(const Case& scan) const {
        return options_.ending.empty() ? prediction_ending(scan.images.front()) : options_.ending;
    }
    fs::path labels_file(const Case& scan) const { return prediction_file(options_.out, scan.name, "", ending(scan)); }
    bool wants_logits() const { return options_.probability || options_.logit; }
    fs::path class_file(const Case& scan, int channel, const char* what) const {
        return prediction_file(options_.out / classes().names[static_cast<std::size_t>(channel)], scan.name, what,
                               ending(scan));
    }

    Context& context_;
    const PredictionOptions& options_;
    const std::vector<TrainedNetwork>& networks_;
    ClassPredictor predictor_;
};

void require_same_classes(const std::vector<TrainedNetwork>& networks) {
    for (const TrainedNetwork& network : networks)
        if (!(network.classes == networks.front().classes))
            throw InputError(fmt::format("{} and {} are networks of other classes: they cannot be averaged",
                                         networks.front().weights.string(), network.weights.string()));
}

}  // namespace

void predict_class_cases(Context& context, const std::vector<TrainedNetwork>& networks, const Dataset& dataset,
                         const std::vector<Case>& cases, const PredictionOptions& options,
                         const PreparationOptions& reading) {
    require_same_classes(networks);
    if (options.masks.threshold || options.masks.min_volume)
        throw InputError(
            "--threshold and --min-volume are of networks of one class; labels of several are those of "
            "the largest probability, regions those above 0.5");
    ClassRun run(context, networks, options);
    std::vector<Case> left;
    for (const Case& scan : cases)
        if (!options.skip_finished || !run.is_finished(scan)) left.push_back(scan);
    if (left.empty()) return;
    const OutputFolder folder(options.out, "prediction");
    std::vector<MemoryNeed> needs;
    for (const Case& scan : left) needs.push_back(run.need_of(dataset, scan, reading));
    fmt::print("{}", memory_sentence(needs, "predicting"));
    const InterruptGuard guard;
    ReplacedVoxels replaced;
    for (std::size_t i = 0; i < left.size(); ++i) {
        if (options.reading) options.reading(left[i]);
        PreparedCase scan = prepare_case(dataset, left[i], reading);
        replaced.add(scan);
        const auto [d, h, w] = scan.geometry.shape;
        fmt::print("predict  {} ({} of {}), {} x {} x {} voxels\n", scan.name, i + 1, left.size(), d, h, w);
        std::fflush(stdout);
        run.predict(left[i], std::move(scan));
        if (options.written) options.written(left[i]);
    }
    fmt::print("{}", replaced.line(reading));
}

}  // namespace iwseg
