#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "engine/host_memory.h"
#include "engine/program.h"
#include "losses/loss_operation.h"
#include "training/batch.h"
#include "training/batch_upload.h"
#include "training/resident_scans.h"
#include "training/target_level.h"

namespace iwseg {

/// What a training step reads, where the device reads it. On the CPU that is the batch's own memory. Elsewhere it is
/// filled in one of two ways: by a batch, copied while the step before is at work (BatchUpload), or, from the places of
/// patches alone, by steps that cut them from resident scans. The places stay the same from step to step.
class StepInputs {
  public:
    /// input: (N, C, D, H, W). label_bound: one more than any label that is to come; 0: no labels and weights are
    /// wanted. bf16: the network rounds the image.
    StepInputs(Context& context, const Shape& input, std::int64_t label_bound, bool bf16);
    ~StepInputs();
    StepInputs(const StepInputs&) = delete;
    StepInputs& operator=(const StepInputs&) = delete;

    /// Adds the calls that cut patches and compute their components' weights in front of a program; they do nothing
    /// where a batch is given. Once, on a device with memory of its own.
    void add_cutting(Program& program, Buffer image, const SamplingOptions& sampling);
    /// From here on places can be given; scans must outlive this.
    void use(const ResidentScans& scans);

    /// May be called while the step before is still at work. On the CPU the batch must stay as it is until the coming
    /// step is done. Returns false where recorded work is out of date: on the CPU, where a batch has more labels than
    /// any before, and where the step before was given places.
    bool set(const Batch& batch, const UpdateStep& update);
    /// N places in the scans that are used. Returns false where the step before was given a batch.
    bool set(const std::vector<PatchPlace>& places, const UpdateStep& update);

    float* image() const { return image_; }
    std::shared_ptr<const LossTargets> targets() const { return targets_; }
    /// The same of fewer voxels, for logits of this shape, whose sides divide the input's: of each of theirs the target
    /// and label of the voxel at its middle, the latter of two. Where there are any, only batches can be given.
    std::shared_ptr<const LossTargets> targets_of(const Shape& logits);
    const UpdateStep* update() const { return update_; }

  private:
    void make_room(std::int64_t stride);
    void cut() const;
    void weigh(void* scratch) const;
    /// Whether recorded work, which depends on how inputs are filled, still holds.
    bool fill_from(const ResidentScans* scans, std::int64_t stride);
    void fill_levels(const Batch& batch);

    Context& context_;
    Shape shape_;
    bool weighted_;
    std::int64_t label_bound_;
    std::int64_t stride_ = 0;  ///< labels there is room for
    std::unique_ptr<DeviceMemory> device_;
    std::unique_ptr<BatchUpload> batches_;
    std::unique_ptr<HostMemory> sources_;  ///< laid out as device_, up to the image
    Event uploaded_;                       ///< when sources_ may be written again
    UpdateStep host_update_;
    float* image_ = nullptr;
    const UpdateStep* update_ = &host_update_;
    std::shared_ptr<LossTargets> targets_ = std::make_shared<LossTargets>();
    SamplingOptions sampling_;               ///< of add_cutting
    const ResidentScans* scans_ = nullptr;   ///< that may be used
    const ResidentScans* source_ = nullptr;  ///< that the coming step uses, or null: it has a batch
    std::int64_t scans_stride_ = 0;          ///< labels in the scans' table of weights
    std::vector<std::unique_ptr<TargetLevel>> levels_;
};

}  // namespace iwseg
