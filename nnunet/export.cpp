#include "nnunet/export.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "models/class_decision.h"

namespace iwseg::nnunet {

LabelWriter::LabelWriter(Stream host, const Placement& placement, const Plans& plans, const Labels& labels,
                         bool probabilities)
    : host_(host), placement_(placement), labels_(labels) {
    const AxisOrders orders =
        axis_orders(plans.configuration.of_logits, plans.configuration.spacing, placement.spacing);
    for (std::size_t a = 0; a < 3; ++a)
        axes_.emplace_back(placement.resampled[a], placement.cropped[a], orders.orders[a]);
    const auto outputs = static_cast<std::size_t>(labels.outputs());
    const auto voxels = static_cast<std::size_t>(placement.scan[0] * placement.scan[1] * placement.scan[2]);
    const auto plane = outputs * static_cast<std::size_t>(placement.cropped[1] * placement.cropped[2]);
    previous_.resize(plane), current_.resize(plane), result_.resize(plane);
    between_.resize(outputs * static_cast<std::size_t>(placement.cropped[1] * placement.resampled[2]));
    labels_of_scan_ = LabelMap(static_cast<std::int64_t>(voxels), labels.written());
    if (!probabilities) return;
    probabilities_.resize(outputs * voxels);
    if (!labels.has_regions()) std::fill_n(probabilities_.begin(), voxels, 1.0f);
}

std::int64_t LabelWriter::bytes(const Placement& placement, const Labels& labels, bool probabilities) {
    const std::int64_t outputs = labels.outputs();
    const std::int64_t voxels = placement.scan[0] * placement.scan[1] * placement.scan[2];
    return voxels * (LabelMap::bytes_a_voxel(labels.written()) + (probabilities ? 4 * outputs : 0)) +
           4 * outputs * placement.cropped[1] * (3 * placement.cropped[2] + placement.resampled[2]);
}

void LabelWriter::add(const float* logits) {
    std::swap(previous_, current_);
    // Along H, then along W; an axis that keeps its length is left as it is.
    const std::int64_t outputs = labels_.outputs();
    axes_[1].run(host_, logits, outputs, placement_.resampled[2], between_.data());
    axes_[2].run(host_, between_.data(), outputs * placement_.cropped[1], 1, current_.data());
    ++added_;
    while (written_ < placement_.cropped[0]) {
        const ResampledAxis::Taps& taps = axes_[0].taps(written_);
        // Of linear taps the second and third count.
        const std::int64_t last = taps.weights[2] != 0 ? taps.first + 2 : taps.first + 1;
        if (std::clamp<std::int64_t>(last, 0, placement_.resampled[0] - 1) >= added_) return;
        add_result(written_++);
    }
}

void LabelWriter::add_result(std::int64_t d) {
    const ResampledAxis::Taps& taps = axes_[0].taps(d);
    const auto plane_of = [&](std::int64_t tap) -> const std::vector<float>& {
        const std::int64_t plane = std::clamp<std::int64_t>(taps.first + tap, 0, placement_.resampled[0] - 1);
        return plane == added_ - 1 ? current_ : previous_;
    };
    if (taps.weights[2] == 0) return decide(plane_of(1).data(), d);
    const std::vector<float>&below = plane_of(1), &above = plane_of(2);
    const double of_below = taps.weights[1], of_above = taps.weights[2];
    cpu::parallel_ranges(host_, static_cast<std::int64_t>(result_.size()), [&](std::int64_t first, std::int64_t last) {
        for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i)
            result_[i] = static_cast<float>(of_below * below[i] + of_above * above[i]);
    });
    decide(result_.data(), d);
}

void LabelWriter::decide(const float* logits, std::int64_t d) {
    const Extent& cropped = placement_.cropped;
    const Extent strides = placement_.strides();
    const std::int64_t origin = placement_.origin();
    const std::int64_t plane = cropped[1] * cropped[2], voxels = static_cast<std::int64_t>(labels_of_scan_.size());
    const Extent sides = placement_.array_sides(), of_array{sides[1] * sides[2], sides[2], 1};
    const auto steps_along = [&](const Extent& steps, std::int64_t h, std::int64_t w) {
        return (placement_.first[0] + d) * steps[0] + (placement_.first[1] + h) * steps[1] +
               (placement_.first[2] + w) * steps[2];
    };
    Extent array_strides{};
    for (std::size_t a = 0; a < 3; ++a) array_strides[a] = of_array[static_cast<std::size_t>(placement_.transpose[a])];
    const bool regions = labels_.has_regions();
    cpu::parallel_for(host_, cropped[1], [&](std::int64_t h) {
        std::vector<float> values(static_cast<std::size_t>(labels_.outputs()));
        for (std::int64_t w = 0; w < cropped[2]; ++w) {
            for (std::size_t k = 0; k < values.size(); ++k)
                values[k] = logits[static_cast<std::int64_t>(k) * plane + h * cropped[2] + w];
            labels_of_scan_.set(static_cast<std::size_t>(origin + steps_along(strides, h, w)),
                                label_of_logits(values, labels_.written(), regions));
            if (probabilities_.empty()) continue;
            to_class_probabilities(values, regions);
            const std::int64_t in_array = steps_along(array_strides, h, w);
            for (std::size_t c = 0; c < values.size(); ++c)
                probabilities_[c * static_cast<std::size_t>(voxels) + static_cast<std::size_t>(in_array)] = values[c];
        }
    });
}

}  // namespace iwseg::nnunet
