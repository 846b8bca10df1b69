#include "apps/prediction/class_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "apps/prediction/case_loop.h"
#include "apps/prediction/ensemble.h"
#include "apps/prediction/label_file.h"
#include "apps/prediction/memory_need.h"
#include "apps/prediction/output_folder.h"
#include "apps/prediction/prediction_files.h"
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

bool wants_logits(const PredictionOptions& options) {
    return options.probability || options.logit;
}

std::string ending_of(const Case& scan, const PredictionOptions& options) {
    return options.ending.empty() ? prediction_ending(scan.images.front()) : options.ending;
}

fs::path labels_file(const Case& scan, const PredictionOptions& options) {
    return prediction_file(options.out, scan.name, "", ending_of(scan, options));
}

fs::path class_file(const Case& scan, const PredictionOptions& options, const std::string& name, const char* what) {
    return prediction_file(options.out / name, scan.name, what, ending_of(scan, options));
}

std::vector<fs::path> files_of(const Case& scan, const OutputClasses& classes, const PredictionOptions& options) {
    std::vector<fs::path> files;
    if (options.mask) files.push_back(labels_file(scan, options));
    for (int k = first_class(classes); k < classes.outputs(); ++k) {
        const std::string& name = classes.names[static_cast<std::size_t>(k)];
        if (options.probability) files.push_back(class_file(scan, options, name, "prob"));
        if (options.logit) files.push_back(class_file(scan, options, name, "logit"));
    }
    return files;
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

    MemoryNeed need_of(const Dataset& dataset, const Case& scan, const PreparationOptions& reading) const {
        const Extent shape = read_geometry(scan.images.front()).shape;
        const std::int64_t voxels = shape[0] * shape[1] * shape[2];
        const auto channels = static_cast<std::int64_t>(networks_.front().architecture.in_channels);
        std::int64_t of_files = 0;
        for (const fs::path& file : files_to_read(dataset, scan, reading))
            of_files = std::max(of_files, reading_bytes(file));
        const std::int64_t image = 4 * channels * voxels, lasting = predictor_.lasting_bytes();
        const std::int64_t predicting = image + predictor_.bytes(shape, wants_logits(options_));
        // A probability beside labels and logits, or the labels alone, in the file's order too and compressed.
        const std::int64_t of_labels = LabelMap::bytes_a_voxel(classes().values);
        const std::int64_t writing =
            lasting + (wants_logits(options_) ? 4 * (classes().outputs() + 3) + of_labels : 3 * of_labels) * voxels;
        return {scan.name, shape, std::max({lasting + image + of_files, predicting, writing})};
    }

    void predict(const Case& scan, PreparedCase prepared) {
        const Geometry geometry = prepared.geometry;
        ClassPrediction made;
        with_progress(scan, [&](const PatchProgress& progress) {
            made = predictor_.predict(prepared.image.data(), geometry.shape, wants_logits(options_), progress);
        });
        prepared.image = std::vector<float>();  // no longer held while results are written
        const auto write = [&](int channel, const char* what, auto&& compute) {
            Volume<float> volume{geometry, {}};
            compute(context_.host(), made.logits, classes(), channel, volume.voxels);
            const std::string& name = classes().names[static_cast<std::size_t>(channel)];
            const fs::path file = class_file(scan, options_, name, what);
            make_folder(file.parent_path());
            write_volume(file, volume);
        };
        for (int k = first_class(classes()); k < classes().outputs(); ++k) {
            if (options_.probability) write(k, "prob", class_probability);
            if (options_.logit) write(k, "logit", class_logit);
        }
        if (options_.mask) write_label_file(labels_file(scan, options_), geometry, std::move(made.labels));
    }

  private:
    const OutputClasses& classes() const { return predictor_.classes(); }
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
    const OutputClasses& classes = networks.front().classes;
    const std::vector<Case> left =
        unfinished(cases, networks, options, [&](const Case& scan) { return files_of(scan, classes, options); });
    if (left.empty()) return;
    ClassRun run(context, networks, options);
    const OutputFolder folder(options.out, "prediction");
    predict_one_by_one(dataset, left, options, reading,
                       {[&](const Case& scan) { return run.need_of(dataset, scan, reading); },
                        [&](const Case& scan, PreparedCase prepared) { run.predict(scan, std::move(prepared)); }});
}

}  // namespace iwseg
