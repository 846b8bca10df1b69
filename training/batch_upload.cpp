#include "training/batch_upload.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bytes.h"
#include "kernels/device/backend.h"
#include "kernels/device/const_view.h"
#include "kernels/device/staged.h"

namespace iwseg {
namespace {

/// Where each part lies in the buffers, bytes from the start, the update's numbers first.
struct Staged {
    std::int64_t image, target, labels, weights, end;

    Staged(const Batch& batch, const StepPlaces& places, bool bf16, bool short_labels) {
        const std::int64_t voxels = batch.shape.n * batch.shape.voxels();
        image = kMemoryAlignment;
        target = image + aligned(batch.shape.elements() * (bf16 ? 2 : 4));
        labels = target + aligned(voxels);
        weights = labels + (places.labels ? aligned(voxels * (short_labels ? 2 : 4)) : 0);
        end = weights + (places.labels ? aligned(batch.shape.n * places.stride * 4) : 0);
    }
};

}  // namespace

BatchUpload::BatchUpload(Context& context, bool bf16) : context_(context), bf16_(bf16), copies_(context.backend()) {}

BatchUpload::~BatchUpload() {
    host_.reset();  // waits for the copy that is under way
    context_.backend().release_event(uploaded_);
    context_.backend().release_event(taken_);
}

void BatchUpload::make_room(std::int64_t bytes) {
    if (host_ && bytes <= host_->bytes()) return;
    const Backend& device = context_.backend();
    device.synchronise(copies_.get());
    device.synchronise(context_.stream());
    host_.reset();
    staged_.reset();
    staged_ = std::make_unique<DeviceMemory>(device, bytes);
    host_ = std::make_unique<HostMemory>(device, bytes);
}

void BatchUpload::send(const Batch& batch, const UpdateStep& update, const StepPlaces& places) {
    const Backend& device = context_.backend();
    const bool weighted = places.labels != nullptr, short_labels = batch.stride <= kShortIgnored;
    const Staged at(batch, places, bf16_, short_labels);
    make_room(at.end);
    device.wait_for(uploaded_);
    char* host = host_->data();
    std::memcpy(host, &update, sizeof update);
    cpu::copy(context_.host(), to_read({batch.image.data(), batch.shape}),
              {host + at.image, batch.shape, bf16_ ? Type::bf16 : Type::f32});
    std::memcpy(host + at.target, batch.target.data(), batch.target.size());
    if (weighted) {
        if (short_labels)
            cpu::narrow_labels(context_.host(), batch.labels.data(), static_cast<std::int64_t>(batch.labels.size()),
                               reinterpret_cast<std::uint16_t*>(host + at.labels));
        else
            std::memcpy(host + at.labels, batch.labels.data(), batch.labels.size() * 4);
        for (std::int64_t n = 0; n < batch.shape.n; ++n)
            std::memcpy(host + at.weights + n * places.stride * 4,
                        &batch.weights[static_cast<std::size_t>(n * batch.stride)],
                        static_cast<std::size_t>(batch.stride) * 4);
    }
    device.wait_in_stream(copies_.get(), taken_);
    device.copy_to_device(copies_.get(), host, staged_->data(), at.end);
    uploaded_ = device.record_event(copies_.get(), uploaded_);
    device.wait_in_stream(context_.stream(), uploaded_);
    const char* staged = staged_->data();
    const StagedForm of_image = bf16_ ? StagedForm::bf16_to_f32 : StagedForm::as_they_are;
    const StagedForm of_labels = short_labels ? StagedForm::u16_to_label : StagedForm::as_they_are;
    const std::int64_t elements = batch.shape.elements(), voxels = batch.shape.n * batch.shape.voxels();
    const std::array<StagedPart, 5> parts{
        {{staged, places.update, sizeof update, {}},
         {staged + at.image, places.image, elements * (bf16_ ? 2 : 4), of_image},
         {staged + at.target, places.target, voxels, {}},
         {staged + at.labels, places.labels, voxels * (short_labels ? 2 : 4), of_labels},
         {staged + at.weights, places.weights, batch.shape.n * places.stride * 4, {}}}};
    device.take_staged(context_.stream(), std::span(parts).first(weighted ? 5 : 3));
    taken_ = device.record_event(context_.stream(), taken_);
}

}  // namespace iwseg
