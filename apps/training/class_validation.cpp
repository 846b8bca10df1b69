#include "apps/training/class_validation.h"

#include <algorithm>

#include "evaluation/instances.h"
#include "evaluation/metrics.h"
#include "evaluation/score_by_label.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

Shape shape_of(const Extent& shape, int channels) {
    return {1, channels, shape[0], shape[1], shape[2]};
}

/// 1 where the scan's labels are of the channel.
std::vector<std::uint8_t> target_of(const PreparedCase& scan, std::uint64_t labels) {
    std::vector<std::uint8_t> target(static_cast<std::size_t>(scan.geometry.voxels()));
    const ComponentList& lesions = scan.lesions;
    for (std::int64_t c = 0; c < lesions.size(); ++c)
        for (std::int64_t v = lesions.offsets[c]; v < lesions.offsets[c + 1]; ++v)
            target[lesions.voxels[v]] = target_in_channel(lesions.label_of(c), labels);
    return target;
}

}  // namespace

void ClassSums::add(const PreparedCase& scan, const ClassPrediction& prediction, Stream host) {
    const auto [d, h, w] = scan.geometry.shape;
    const OutputClasses output = classes_.output();
    const ClassChannels channels = classes_.channels();
    std::vector<float> probability;
    for (std::size_t k = 0; k < sums_.size(); ++k) {
        const int channel = classes_.channel_of(k);
        const std::vector<std::uint8_t> target = target_of(scan, channels.labels[channel]);
        class_probability(host, prediction.logits, output, channel, probability);
        const LabelClass& of = classes_.classes()[k];
        for (std::size_t v = 0; v < probability.size(); ++v)
            probability[v] = score_by_label(probability[v], of.holds(prediction.labels[v]));
        const ScanToEvaluate evaluated{.d = d,
                                       .h = h,
                                       .w = w,
                                       .target = target.data(),
                                       .probability = probability.data(),
                                       .ignored = scan.ignored.empty() ? nullptr : scan.ignored.data(),
                                       .spacing = scan.geometry.spacing()};
        const Instances instances = find_instances(evaluated, kThresholdByLabel, host);
        sums_[k].records[scan.name] = lesion_records(evaluated, instances);
        sums_[k].dice +=
            Overlap{instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()}.dice();
    }
}

ValidationScore ClassSums::score() const {
    ValidationScore all;
    double recall = 0, recalled = 0;
    for (std::size_t k = 0; k < sums_.size(); ++k) {
        ValidationScore own;
        own.set_recall(sums_[k].records);
        const auto scans = static_cast<double>(sums_[k].records.size());
        all.classes.push_back({classes_.classes()[k].name, own.lesions, own.average_recall, sums_[k].dice / scans});
        all.scans = static_cast<std::int64_t>(sums_[k].records.size());
        all.lesions += own.lesions;
        all.dice += sums_[k].dice / scans / static_cast<double>(sums_.size());
        if (!own.average_recall) continue;
        recall += *own.average_recall;
        ++recalled;
        all.sensitivity.resize(own.sensitivity.size());
        for (std::size_t i = 0; i < own.sensitivity.size(); ++i) all.sensitivity[i] += own.sensitivity[i];
    }
    for (double& at : all.sensitivity) at /= recalled;
    if (recalled > 0) all.average_recall = recall / recalled;
    return all;
}

double class_loss_of(const PreparedCase& scan, const std::vector<float>& logits, const Loss& loss,
                     const ClassLossOptions& classes, Stream host) {
    const Extent& sides = scan.geometry.shape;
    std::vector<std::int32_t> labels(static_cast<std::size_t>(scan.geometry.voxels()));
    write_labels(scan.lesions, labels.data());
    for (std::size_t v = 0; v < scan.ignored.size(); ++v)
        if (scan.ignored[v]) labels[v] = kIgnoredLabel;
    const Shape shape = shape_of(sides, classes.channels.channels);
    const ClassLossProgram program(loss, classes, cpu::backend(), shape);
    std::vector<double> scratch(static_cast<std::size_t>(program.scratch_bytes()) / sizeof(double) + 1);
    double value = 0;
    program.value(host, {const_cast<float*>(logits.data()), shape}, labels.data(), nullptr, scratch.data(), &value);
    return value;
}

std::int64_t class_validation_bytes(const Loss& loss, const ClassLossOptions& classes, const Extent& shape) {
    const std::int64_t voxels = shape[0] * shape[1] * shape[2];
    const std::int64_t program =
        ClassLossProgram(loss, classes, cpu::backend(), shape_of(shape, classes.channels.channels)).scratch_bytes();
    // A class's target, probability, and labels of its lesions and detections; or the loss and its labels.
    return std::max((1 + 4 + 8) * voxels, program + 4 * voxels);
}

}  // namespace iwseg
