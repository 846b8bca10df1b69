#include "training/step_inputs.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "base/bytes.h"
#include "engine/plan.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

/// Where each part lies, bytes from the start: the update's numbers, where patches are cut, image, target, labels,
/// weights.
struct Parts {
    std::int64_t sources, image, target, labels, weights, end;

    Parts(const Shape& shape, bool weighted, std::int64_t stride) {
        const std::int64_t voxels = shape.n * shape.voxels();
        sources = kMemoryAlignment;
        image = sources + aligned(shape.n * static_cast<std::int64_t>(sizeof(PatchSource)));
        target = image + aligned(shape.elements() * 4);
        labels = target + aligned(voxels);
        weights = labels + (weighted ? aligned(voxels * 4) : 0);
        end = weights + (weighted ? aligned(shape.n * stride * 4) : 0);
    }
};

}  // namespace

StepInputs::StepInputs(Context& context, const Shape& input, std::int64_t label_bound, bool bf16)
    : context_(context), shape_(input), weighted_(label_bound > 0), label_bound_(label_bound) {
    targets_->label_bound = label_bound;
    targets_->step = &host_update_.step;
    if (context.backend().host_memory) return;
    make_room(std::min<std::int64_t>(1024, label_bound));
    batches_ = std::make_unique<BatchUpload>(context, bf16);
    sources_ = std::make_unique<HostMemory>(context.backend(), Parts(shape_, weighted_, stride_).image);
}

StepInputs::~StepInputs() {
    sources_.reset();  // waits for the copy that is under way
    context_.backend().release_event(uploaded_);
}

void StepInputs::make_room(std::int64_t stride) {
    const Backend& device = context_.backend();
    device.synchronise(context_.stream());
    stride_ = std::max(stride, std::min(2 * stride_, label_bound_));
    const Parts parts(shape_, weighted_, stride_);
    device_.reset();
    device_ = std::make_unique<DeviceMemory>(device, parts.end);
    char* data = device_->data();
    image_ = reinterpret_cast<float*>(data + parts.image);
    update_ = reinterpret_cast<const UpdateStep*>(data);
    targets_->target = reinterpret_cast<const std::uint8_t*>(data + parts.target);
    targets_->step = &update_->step;
    if (!weighted_) return;
    targets_->labels = reinterpret_cast<const std::int32_t*>(data + parts.labels);
    targets_->weights = reinterpret_cast<const float*>(data + parts.weights);
}

bool StepInputs::fill_from(const ResidentScans* scans, std::int64_t stride) {
    targets_->stride = weighted_ ? stride : 0;
    const bool as_before = source_ == scans;
    source_ = scans;
    return as_before;
}

std::shared_ptr<const LossTargets> StepInputs::targets_of(const Shape& logits) {
    levels_.push_back(std::make_unique<TargetLevel>(context_, shape_, logits, weighted_));
    levels_.back()->follow(*targets_);
    return levels_.back()->targets();
}

void StepInputs::fill_levels(const Batch& batch) {
    for (const auto& level : levels_) {
        level->set(batch);
        level->follow(*targets_);
    }
}

bool StepInputs::set(const Batch& batch, const UpdateStep& update) {
    const Backend& device = context_.backend();
    if (device.host_memory) {
        // Steps only ever read it.
        image_ = const_cast<float*>(batch.image.data());
        targets_->target = batch.target.data();
        targets_->labels = weighted_ ? batch.labels.data() : nullptr;
        targets_->weights = weighted_ ? batch.weights.data() : nullptr;
        targets_->stride = weighted_ ? batch.stride : 0;
        host_update_ = update;
        fill_levels(batch);
        return false;
    }
    const bool room = !weighted_ || batch.stride <= stride_;
    if (!room) make_room(batch.stride);
    const Parts parts(shape_, weighted_, stride_);
    char* data = device_->data();
    batches_->send(batch, update,
                   {reinterpret_cast<UpdateStep*>(data), image_, reinterpret_cast<std::uint8_t*>(data + parts.target),
                    weighted_ ? reinterpret_cast<std::int32_t*>(data + parts.labels) : nullptr,
                    weighted_ ? reinterpret_cast<float*>(data + parts.weights) : nullptr, stride_});
    const bool holds = fill_from(nullptr, stride_) && room;
    fill_levels(batch);
    return holds;
}

// ----------------------------------------------------------------------------------------------------------------------

void StepInputs::use(const ResidentScans& scans) {
    scans_ = &scans;
    const Shape mask{shape_.n, 1, shape_.d, shape_.h, shape_.w};
    scans_stride_ = sampling_.components == ComponentMode::patch ? component_label_bound(mask, sampling_.connectivity)
                                                                 : scans.label_bound();
    if (weighted_ && scans_stride_ > stride_) make_room(scans_stride_);
}

bool StepInputs::set(const std::vector<PatchPlace>& places, const UpdateStep& update) {
    if (!scans_ || !levels_.empty() || static_cast<std::int64_t>(places.size()) != shape_.n)
        throw std::invalid_argument("places of another number than the batch's, or no resident scans to cut them from");
    const Backend& device = context_.backend();
    device.wait_for(uploaded_);
    const Parts parts(shape_, weighted_, stride_);
    std::memcpy(sources_->data(), &update, sizeof update);
    for (std::size_t n = 0; n < places.size(); ++n) {
        const PatchSource source = scans_->source(places[n], sampling_.patch);
        std::memcpy(sources_->data() + parts.sources + n * sizeof source, &source, sizeof source);
    }
    device.copy_to_device(context_.stream(), sources_->data(), device_->data(), sources_->bytes());
    uploaded_ = device.record_event(context_.stream(), uploaded_);
    return fill_from(scans_, scans_stride_);
}

void StepInputs::add_cutting(Program& program, Buffer image, const SamplingOptions& sampling) {
    sampling_ = sampling;
    std::vector<Call> calls;
    calls.push_back({"cut patches", "cut patches", {}, {image}, [this](const Plan&) {
                         if (source_) cut();
                     }});
    if (weighted_) {
        Buffer scratch;
        Call call{"weigh components", "weigh components", {}, {}, {}};
        if (sampling.components == ComponentMode::patch) {
            const Shape mask{shape_.n, 1, shape_.d, shape_.h, shape_.w};
            scratch = program.add_bytes(
                "components", context_.backend().component_weights_scratch_bytes(mask, sampling.connectivity));
            call.writes.push_back(scratch);
        }
        call.run = [this, scratch](const Plan& plan) {
            if (source_) weigh(scratch ? plan[scratch].data : nullptr);
        };
        calls.push_back(std::move(call));
    }
    program.add_first(std::move(calls));
}

void StepInputs::cut() const {
    const Parts parts(shape_, weighted_, stride_);
    char* data = device_->data();
    const bool labels =
        weighted_ && sampling_.components == ComponentMode::volume;  // else those of the patch are found
    context_.backend().cut_patches(context_.stream(), reinterpret_cast<const PatchSource*>(data + parts.sources),
                                   {image_, shape_}, reinterpret_cast<std::uint8_t*>(data + parts.target),
                                   labels ? reinterpret_cast<std::int32_t*>(data + parts.labels) : nullptr);
}

void StepInputs::weigh(void* scratch) const {
    const Parts parts(shape_, weighted_, stride_);
    char* data = device_->data();
    const Shape one{shape_.n, 1, shape_.d, shape_.h, shape_.w};
    const View target{data + parts.target, one, Type::u8}, labels{data + parts.labels, one, Type::i32};
    auto* weights = reinterpret_cast<float*>(data + parts.weights);
    const Backend& device = context_.backend();
    if (sampling_.components == ComponentMode::patch)
        device.component_weights(context_.stream(), target, sampling_.connectivity, sampling_.weight_clip, labels,
                                 weights, scratch);
    else
        device.inverse_weight_table(context_.stream(), labels, weights, scans_stride_, sampling_.weight_clip);
}

}  // namespace iwseg
