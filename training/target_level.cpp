#include "training/target_level.h"

#include <cstring>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

/// to (N, …) of from (N, …): the voxel at the middle of each that becomes one.
template <class T>
void take_middles(const std::vector<T>& from, const Shape& input, const Shape& shape, std::vector<T>& to) {
    const std::int64_t d = input.d / shape.d, h = input.h / shape.h, w = input.w / shape.w;
    to.resize(static_cast<std::size_t>(shape.n * shape.voxels()));
    std::size_t at = 0;
    for (std::int64_t n = 0; n < shape.n; ++n)
        for (std::int64_t z = d / 2; z < input.d; z += d)
            for (std::int64_t y = h / 2; y < input.h; y += h)
                for (std::int64_t x = w / 2; x < input.w; x += w)
                    to[at++] = from[static_cast<std::size_t>(((n * input.d + z) * input.h + y) * input.w + x)];
}

}  // namespace

std::vector<float> level_weights(std::size_t levels) {
    if (levels < 2) return {1.0f};
    std::vector<float> weights(levels);
    double sum = 0;
    for (std::size_t i = 0; i + 1 < levels; ++i) sum += 1.0 / static_cast<double>(std::size_t{1} << i);
    for (std::size_t i = 0; i + 1 < levels; ++i)
        weights[i] = static_cast<float>(1.0 / static_cast<double>(std::size_t{1} << i) / sum);
    return weights;
}

TargetLevel::TargetLevel(Context& context, const Shape& input, const Shape& logits, bool labels)
    : context_(context), input_(input), shape_{logits.n, 1, logits.d, logits.h, logits.w}, has_labels_(labels) {
    if (input.n != logits.n || input.d % logits.d || input.h % logits.h || input.w % logits.w)
        throw std::invalid_argument("targets for logits of " + text_of(logits) +
                                    ", whose sides do not divide those of " + text_of(input));
    if (context.backend().host_memory) return;
    const std::int64_t voxels = shape_.n * shape_.voxels(), of_labels = labels ? aligned(voxels * 4) : 0;
    device_ = std::make_unique<DeviceMemory>(context.backend(), of_labels + aligned(voxels));
    host_ = std::make_unique<HostMemory>(context.backend(), of_labels + aligned(voxels));
    targets_->target = reinterpret_cast<const std::uint8_t*>(device_->data() + of_labels);
    if (labels) targets_->labels = reinterpret_cast<const std::int32_t*>(device_->data());
}

TargetLevel::~TargetLevel() {
    host_.reset();  // waits for the copy that is under way
    context_.backend().release_event(uploaded_);
}

void TargetLevel::set(const Batch& batch) {
    take_middles(batch.target, input_, shape_, target_);
    if (has_labels_) take_middles(batch.labels, input_, shape_, labels_);
    const Backend& device = context_.backend();
    if (device.host_memory) {
        targets_->target = target_.data();
        if (has_labels_) targets_->labels = labels_.data();
        return;
    }
    device.wait_for(uploaded_);
    if (has_labels_) std::memcpy(host_->data(), labels_.data(), labels_.size() * sizeof(std::int32_t));
    std::memcpy(host_->data() + host_->bytes() - aligned(static_cast<std::int64_t>(target_.size())), target_.data(),
                target_.size());
    device.copy_to_device(context_.stream(), host_->data(), device_->data(), host_->bytes());
    uploaded_ = device.record_event(context_.stream(), uploaded_);
}

void TargetLevel::follow(const LossTargets& finest) {
    targets_->weights = finest.weights;
    targets_->stride = finest.stride;
    targets_->step = finest.step;
    targets_->label_bound = finest.label_bound;
}

}  // namespace iwseg
