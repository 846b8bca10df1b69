#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "engine/host_memory.h"
#include "losses/loss_operation.h"
#include "training/batch.h"

namespace iwseg {

/// By what the losses of so many resolutions count, the finest first: 1, 1/2, 1/4, … and 0 for the coarsest, divided by
/// their sum, as nnU-Net 2 has it (Isensee et al., Nature Methods 2021). Of one resolution: 1.
std::vector<float> level_weights(std::size_t levels);

/// What the loss of coarser logits is computed against: of each of their voxels the target, and the label, of the voxel
/// at the middle of those of the patch that it stands for; of two in a row the latter. That is PyTorch's nearest-exact,
/// which nnU-Net takes. Weights of labels are those of the patch. Filled by the host, step by step.
class TargetLevel {
  public:
    /// input: (N, C, D, H, W); logits: (N, K, …), whose sides divide the input's. Throws std::invalid_argument where
    /// they do not.
    TargetLevel(Context& context, const Shape& input, const Shape& logits, bool labels);
    ~TargetLevel();
    TargetLevel(const TargetLevel&) = delete;
    TargetLevel& operator=(const TargetLevel&) = delete;

    /// What is queued next on the context's stream reads the batch's.
    void set(const Batch& batch);
    /// Takes what is the same at all resolutions.
    void follow(const LossTargets& finest);
    std::shared_ptr<const LossTargets> targets() const { return targets_; }

  private:
    Context& context_;
    Shape input_, shape_;
    bool has_labels_;
    std::vector<std::uint8_t> target_;
    std::vector<std::int32_t> labels_;
    std::unique_ptr<DeviceMemory> device_;  ///< on a device with memory of its own: labels, then targets
    std::unique_ptr<HostMemory> host_;      ///< laid out as device_
    Event uploaded_;                        ///< when host_ may be written again
    std::shared_ptr<LossTargets> targets_ = std::make_shared<LossTargets>();
};

}  // namespace iwseg
