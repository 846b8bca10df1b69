#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/loss/hardest_voxels.h"
#include "kernels/loss/instance_loss.h"
#include "kernels/loss/lesion_maximum.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/region_loss.h"
#include "losses/loss.h"

namespace iwseg {

/// A loss ready to be computed on a device, for logits of one shape: which kernels are called, and where in one piece
/// of scratch each keeps its sums.
class LossProgram {
  public:
    /// logit: (N, 1, D, H, W). label_bound: inputs have a stride of at most this; 0: whatever D x H x W voxels can
    /// hold.
    LossProgram(const Loss& loss, const Backend& device, const Shape& logit, std::int64_t label_bound = 0);

    /// Of the device's memory, aligned to 16 bytes; what value leaves there, gradient reads.
    std::int64_t scratch_bytes() const { return bytes_; }
    /// *value receives the loss, or has it added: f64, memory of the device. terms: likewise receives what each term
    /// adds to it, in the loss's order, for a second pass over the values of each; null: not wanted.
    void value(Stream stream, const LossInput& input, void* scratch, double* value, Write write = Write::overwrite,
               double* terms = nullptr) const;
    /// diff_logit: like the logits, receives d loss / d logit, or has it added.
    void gradient(Stream stream, const LossInput& input, const void* scratch, View diff_logit, Write write) const;

  private:
    enum class Weights : std::uint8_t { as_given, by_size };
    struct Step {
        std::variant<LossPass, HardestPass, LesionMaximumPass, InstancePass, RegionPass> pass;
        Weights weights = Weights::as_given;
        std::int64_t scratch = 0;  ///< where its own begins, bytes
        int term = kSeveral;       ///< of the loss, that it computes, or a part of
    };
    static constexpr int kSeveral = -1;

    std::int64_t take(std::int64_t bytes);
    void add(Step step, std::int64_t scratch_bytes);
    void look_at_lesions(Stream stream, const LossInput& input, void* scratch) const;
    LossInput input_of(const Step& step, const LossInput& input, const void* scratch) const;
    void compute(Stream stream, const Step& step, const LossInput& input, void* scratch, double* value,
                 Write write) const;
    void compute_terms(Stream stream, const LossInput& input, void* scratch, double* terms) const;

    const Backend* device_;
    Shape shape_;
    std::int64_t label_bound_, bytes_ = 0;
    std::vector<Step> steps_;
    std::vector<Step> single_;  ///< a step each of terms that share one, in the scratch of those
    // Where what terms read lies, bytes; -1: none reads it.
    std::int64_t size_weights_ = -1;             ///< the table of weights by lesion size
    std::int64_t nearest_ = -1, searched_ = -1;  ///< the nearest lesion of each voxel, and what its search needs
};

}  // namespace iwseg
