#include "nnunet/predictor.h"

#include <algorithm>
#include <utility>

#include "nnunet/export.h"
#include "nnunet/resample.h"

namespace iwseg::nnunet {
namespace {

SlidingWindowOptions window_options(const Model& model, const PredictorOptions& options) {
    SlidingWindowOptions made{.patch = model.plans.configuration.patch,
                              .step = options.step,
                              .gaussian = options.gaussian,
                              .bf16 = options.bf16};
    if (options.mirror) made.mirror = model.notes.mirror;
    return made;
}

}  // namespace

NnunetPredictor::NnunetPredictor(const Context& context, const Model& model, const PredictorOptions& options)
    : context_(context),
      model_(model),
      options_(options),
      window_(context, model.plans.network, window_options(model, options)) {
    for (const std::filesystem::path& checkpoint : model.checkpoints)
        window_.add_weights([&](Parameters& network) { load_weights(checkpoint, network); });
}

Segmentation NnunetPredictor::predict(std::vector<Volume<float>> channels, const PatchProgress& progress) {
    const Geometry geometry = channels.at(0).geometry;
    const Preprocessed scan = preprocess(context_.host(), std::move(channels), model_.plans);
    LabelWriter writer(context_.host(), scan.placement, model_.plans, model_.dataset.labels, options_.probabilities);
    window_.predict(
        scan.image.data(), scan.placement.resampled, [&](std::int64_t, const float* logits) { writer.add(logits); },
        progress);
    return {geometry, std::move(writer.labels()), std::move(writer.probabilities()), scan.placement.array_sides()};
}

Placement NnunetPredictor::whole(const Geometry& geometry) const {
    Placement placement = placement_of(geometry, model_.plans);
    placement.resampled = resampled_extent(placement.scan, placement.spacing, model_.plans.configuration.spacing);
    // A side that preprocessing will refuse counts as one that it takes.
    for (std::int64_t& side : placement.resampled) side = std::clamp<std::int64_t>(side, 1, kMostImageSide);
    return placement;
}

std::int64_t NnunetPredictor::patches(const Geometry& geometry) const {
    return window_.patches(whole(geometry).resampled);
}

std::int64_t NnunetPredictor::bytes(const Geometry& geometry, bool later) const {
    const Placement placement = whole(geometry);
    const Labels& labels = model_.dataset.labels;
    const auto channels = static_cast<std::int64_t>(model_.dataset.channels.size());
    const std::int64_t image = 4 * channels * placement.resampled[0] * placement.resampled[1] * placement.resampled[2];
    const std::int64_t preparing = preprocessing_bytes(placement, model_.plans) + (later ? lasting_bytes() : 0);
    const std::int64_t predicting =
        image + window_.bytes(placement.resampled) + LabelWriter::bytes(placement, labels, options_.probabilities);
    // Labels as they are, in their file's order and packed; before them probabilities as they are and packed, which
    // noise makes no smaller.
    const std::int64_t of_labels = LabelMap::bytes_a_voxel(labels.written()),
                       of_probabilities = options_.probabilities ? 4 * labels.outputs() : 0;
    const std::int64_t writing = lasting_bytes() + geometry.voxels() * (of_labels + of_probabilities +
                                                                        std::max(2 * of_labels, of_probabilities));
    return std::max({preparing, predicting, writing});
}

}  // namespace iwseg::nnunet
