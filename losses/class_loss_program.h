#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/device/backend.h"
#include "losses/class_loss_options.h"
#include "losses/loss.h"
#include "losses/loss_program.h"

namespace iwseg {

/// The loss of one output channel, as a sum of its own terms (docs/losses.md, "Several classes and regions"). Where
/// classes exclude each other `ce` is that channel's part of the softmax's cross-entropy, and all other terms are the
/// mean over the channels but the first, which is background; of regions all are the mean over channels. No terms: the
/// channel adds nothing.
Loss loss_of_channel(const Loss& loss, const ClassChannels& channels, int channel);

/// Of each value that ClassLossProgram::value gives to `terms`, which of the loss's terms it is a part of.
std::vector<std::size_t> class_term_places(const Loss& loss, const ClassChannels& channels);

/// A loss of several classes or regions: each channel's logit is set against the rest (kernels/loss/class_logits.h),
/// and the terms of one channel are computed of it, with components of that class alone where they look at lesions.
class ClassLossProgram {
  public:
    /// logit: (N, K, D, H, W). Throws std::invalid_argument where it has other channels than the options say.
    ClassLossProgram(const Loss& loss, const ClassLossOptions& options, const Backend& device, const Shape& logit);

    /// Of the device's memory, aligned to 16 bytes; what value leaves there, gradient reads.
    std::int64_t scratch_bytes() const { return bytes_; }
    /// labels: (N, D, H, W) of the device, as split_classes takes them; step: as LossInput::step. *value receives the
    /// loss: f64, memory of the device. terms: likewise receives what each term of each channel adds to it
    /// (class_term_places); null: not wanted.
    void value(Stream stream, View logit, const std::int32_t* labels, const float* step, void* scratch, double* value,
               double* terms = nullptr) const;
    /// diff_logit: like the logits, receives d loss / d logit, or has it added. Writes to scratch, too.
    void gradient(Stream stream, View logit, const float* step, void* scratch, View diff_logit, Write write) const;

  private:
    std::int64_t take(std::int64_t bytes);
    LossInput input_of(int channel, const float* step, void* scratch) const;
    void find_components(Stream stream, int channel, void* scratch) const;

    const Backend* device_;
    ClassLossOptions options_;
    Shape shape_, one_;                                 ///< of the logits, and of a channel's
    std::vector<std::optional<LossProgram>> programs_;  ///< of each channel
    std::vector<std::size_t> terms_;                    ///< of each channel, how many
    std::vector<bool> reads_labels_;                    ///< of each channel
    std::int64_t bytes_ = 0, stride_ = 0;
    // Where it lies, bytes: of all channels one after the other, but for `searched_`.
    std::int64_t binary_, target_, diff_binary_, labels_ = 0, weights_ = 0, searched_ = 0;
    std::vector<std::int64_t> sums_;  ///< of each channel's program
};

}  // namespace iwseg
