#include "models/class_predictor.h"

#include <string>

#include "base/error.h"
#include "kernels/cpu/parallel.h"

namespace iwseg {
namespace {

/// Fills result (V) with what `of` makes of each voxel's logits.
template <class Of>
void each_voxel(Stream host, const std::vector<float>& logits, const OutputClasses& classes, std::vector<float>& result,
                Of&& of) {
    const auto outputs = static_cast<std::size_t>(classes.outputs());
    const std::size_t voxels = logits.size() / outputs;
    result.resize(voxels);
    cpu::parallel_ranges(host, static_cast<std::int64_t>(voxels), [&](std::int64_t first, std::int64_t last) {
        std::vector<float> values(outputs);
        for (auto v = static_cast<std::size_t>(first); v < static_cast<std::size_t>(last); ++v) {
            for (std::size_t k = 0; k < outputs; ++k) values[k] = logits[k * voxels + v];
            result[v] = of(values);
        }
    });
}

}  // namespace

ClassPredictor::ClassPredictor(const Context& context, const Network& network, const SlidingWindowOptions& windows,
                               const OutputClasses& classes)
    : context_(context), classes_(classes), window_(context, network, windows) {
    if (window_.outputs() != classes.outputs())
        throw InputError("a network of " + std::to_string(window_.outputs()) + " output channels for " +
                         std::to_string(classes.outputs()) +
                         " classes, background among them where they exclude each "
                         "other: expected one a class");
}

ClassPrediction ClassPredictor::predict(const float* image, const Extent& extent, bool logits,
                                        const PatchProgress& progress) {
    const std::int64_t plane = extent[1] * extent[2], voxels = extent[0] * plane;
    const auto outputs = static_cast<std::size_t>(classes_.outputs());
    ClassPrediction made;
    made.labels = LabelMap(voxels, classes_.values);
    if (logits) made.logits.resize(outputs * static_cast<std::size_t>(voxels));
    const auto decide = [&](std::int64_t d, const float* of_plane) {
        cpu::parallel_ranges(context_.host(), plane, [&](std::int64_t first, std::int64_t last) {
            std::vector<float> values(outputs);
            for (std::int64_t v = first; v < last; ++v) {
                for (std::size_t k = 0; k < outputs; ++k)
                    values[k] = of_plane[static_cast<std::int64_t>(k) * plane + v];
                made.labels.set(static_cast<std::size_t>(d * plane + v),
                                label_of_logits(values, classes_.values, classes_.regions));
                for (std::size_t k = 0; k < outputs && logits; ++k)
                    made.logits[k * static_cast<std::size_t>(voxels) + static_cast<std::size_t>(d * plane + v)] =
                        values[k];
            }
        });
    };
    window_.predict(image, extent, decide, progress);
    return made;
}

std::int64_t ClassPredictor::bytes(const Extent& extent, bool logits) const {
    const std::int64_t a_voxel = LabelMap::bytes_a_voxel(classes_.values) + (logits ? 4 * classes_.outputs() : 0);
    return window_.bytes(extent) + a_voxel * extent[0] * extent[1] * extent[2];
}

void class_probability(Stream host, const std::vector<float>& logits, const OutputClasses& classes, int channel,
                       std::vector<float>& probability) {
    each_voxel(host, logits, classes, probability, [&](std::vector<float>& values) {
        to_class_probabilities(values, classes.regions);
        return values[static_cast<std::size_t>(channel)];
    });
}

void class_logit(Stream host, const std::vector<float>& logits, const OutputClasses& classes, int channel,
                 std::vector<float>& logit) {
    each_voxel(host, logits, classes, logit, [&](const std::vector<float>& values) {
        return class_logit_of(values, static_cast<std::size_t>(channel), classes.regions);
    });
}

}  // namespace iwseg
