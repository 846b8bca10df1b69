#pragma once

#include <cstdint>
#include <memory>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "engine/device_stream.h"
#include "engine/host_memory.h"
#include "kernels/optimizer/update_step.h"
#include "training/batch.h"

namespace iwseg {

/// Where a step reads what it is given, in the device's memory. labels and weights: null where no loss has them.
struct StepPlaces {
    UpdateStep* update = nullptr;
    float* image = nullptr;          ///< (N, C, D, H, W)
    std::uint8_t* target = nullptr;  ///< (N, D, H, W)
    std::int32_t* labels = nullptr;  ///< (N, D, H, W)
    float* weights = nullptr;        ///< (N, stride)
    std::int64_t stride = 0;
};

/// A batch's way to the device, beside the step that is at work: on a stream of its own it is copied into a second
/// buffer, from where a kernel takes it to the places that steps read when the step before is done with them. What is
/// copied is as small as may be: images of bf16 where the network rounds them so, and labels of 16 bits where they fit.
class BatchUpload {
  public:
    /// bf16: images are to be rounded.
    BatchUpload(Context& context, bool bf16);
    ~BatchUpload();
    BatchUpload(const BatchUpload&) = delete;
    BatchUpload& operator=(const BatchUpload&) = delete;

    /// Returns when the batch may change: its copy is queued from memory of this class. What is queued next on the
    /// context's stream reads it at those places. weighted places take the batch's labels and weights, of at most
    /// `stride` labels.
    void send(const Batch& batch, const UpdateStep& update, const StepPlaces& places);

  private:
    void make_room(std::int64_t bytes);

    Context& context_;
    bool bf16_;
    DeviceStream copies_;
    std::unique_ptr<HostMemory> host_;
    std::unique_ptr<DeviceMemory> staged_;  ///< laid out as host_
    Event uploaded_;                        ///< when host_ may be written again, and staged_ read
    Event taken_;                           ///< when staged_ may be written again
};

}  // namespace iwseg
