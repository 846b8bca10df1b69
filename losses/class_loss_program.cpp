#include "losses/class_loss_program.h"

#include <stdexcept>
#include <utility>
#include <variant>

#include "base/bytes.h"
#include "kernels/components/component_weights.h"

namespace iwseg {
namespace {

template <class T>
T* part_of(void* scratch, std::int64_t place) {
    return reinterpret_cast<T*>(static_cast<char*>(scratch) + place);
}

/// Background has a part in the softmax's cross-entropy alone.
bool is_cross_entropy(const LossTerm& term) {
    return term.kind == TermKind::voxels && !term.weighted &&
           std::holds_alternative<formulas::CrossEntropy>(term.formula);
}

bool has_term(const LossTerm& term, const ClassChannels& channels, int channel) {
    return !channels.exclusive || channel > 0 || is_cross_entropy(term);
}

}  // namespace

Loss loss_of_channel(const Loss& loss, const ClassChannels& channels, int channel) {
    Loss own{loss.name, {}};
    const auto foreground = static_cast<float>(channels.channels - (channels.exclusive ? 1 : 0));
    for (LossTerm term : loss.terms) {
        if (!has_term(term, channels, channel)) continue;
        if (channels.exclusive && is_cross_entropy(term))
            term.formula = formulas::ClassEntropy{};
        else
            term.factor /= foreground;
        own.terms.push_back(term);
    }
    return own;
}

std::vector<std::size_t> class_term_places(const Loss& loss, const ClassChannels& channels) {
    std::vector<std::size_t> places;
    for (int k = 0; k < channels.channels; ++k)
        for (std::size_t i = 0; i < loss.terms.size(); ++i)
            if (has_term(loss.terms[i], channels, k)) places.push_back(i);
    return places;
}

ClassLossProgram::ClassLossProgram(const Loss& loss, const ClassLossOptions& options, const Backend& device,
                                   const Shape& logit)
    : device_(&device), options_(options), shape_(logit), one_{logit.n, 1, logit.d, logit.h, logit.w} {
    require_class_logits(options.channels, {nullptr, logit}, "a loss of several classes");
    const std::int64_t channels = logit.c, voxels = one_.elements();
    binary_ = take(channels * voxels * static_cast<std::int64_t>(sizeof(float)));
    diff_binary_ = take(channels * voxels * static_cast<std::int64_t>(sizeof(float)));
    target_ = take(channels * voxels);
    if (loss.reads_labels()) {
        stride_ = component_label_bound(one_, options.connectivity);
        labels_ = take(channels * voxels * static_cast<std::int64_t>(sizeof(std::int32_t)));
        weights_ = take(channels * logit.n * stride_ * static_cast<std::int64_t>(sizeof(float)));
        searched_ = take(device.component_weights_scratch_bytes(one_, options.connectivity));
    }
    for (int k = 0; k < options.channels.channels; ++k) {
        const Loss own = loss_of_channel(loss, options.channels, k);
        programs_.emplace_back();
        terms_.push_back(own.terms.size());
        reads_labels_.push_back(own.reads_labels());
        if (!own.terms.empty()) programs_.back().emplace(own, device, one_, stride_);
        sums_.push_back(take(own.terms.empty() ? 0 : programs_.back()->scratch_bytes()));
    }
}

std::int64_t ClassLossProgram::take(std::int64_t bytes) {
    return std::exchange(bytes_, bytes_ + aligned(bytes));
}

LossInput ClassLossProgram::input_of(int channel, const float* step, void* scratch) const {
    const std::int64_t first = channel * one_.elements();
    LossInput input{{part_of<float>(scratch, binary_) + first, one_}, part_of<std::uint8_t>(scratch, target_) + first};
    input.step = step;
    if (!reads_labels_[static_cast<std::size_t>(channel)]) return input;
    input.labels = part_of<std::int32_t>(scratch, labels_) + first;
    input.weights = part_of<float>(scratch, weights_) + channel * one_.n * stride_;
    input.stride = stride_;
    return input;
}

void ClassLossProgram::find_components(Stream stream, int channel, void* scratch) const {
    const std::int64_t first = channel * one_.elements();
    std::int32_t* const labels = part_of<std::int32_t>(scratch, labels_) + first;
    device_->set_zero(stream, labels, one_.elements() * static_cast<std::int64_t>(sizeof(std::int32_t)));
    device_->component_weights(stream, {part_of<std::uint8_t>(scratch, target_) + first, one_, Type::u8},
                               options_.connectivity, options_.weight_clip, {labels, one_, Type::i32},
                               part_of<float>(scratch, weights_) + channel * one_.n * stride_,
                               part_of<void>(scratch, searched_));
}

void ClassLossProgram::value(Stream stream, View logit, const std::int32_t* labels, const float* step, void* scratch,
                             double* value, double* terms) const {
    if (!labels) throw std::invalid_argument("a loss of several classes without labels: LossTargets::labels is null");
    device_->split_classes(stream, options_.channels, logit, labels, part_of<float>(scratch, binary_),
                           part_of<std::uint8_t>(scratch, target_));
    Write write = Write::overwrite;
    for (int k = 0; k < options_.channels.channels; ++k) {
        const std::optional<LossProgram>& program = programs_[static_cast<std::size_t>(k)];
        if (!program) continue;
        if (reads_labels_[static_cast<std::size_t>(k)]) find_components(stream, k, scratch);
        program->value(stream, input_of(k, step, scratch), part_of<void>(scratch, sums_[static_cast<std::size_t>(k)]),
                       value, write, terms);
        if (terms) terms += terms_[static_cast<std::size_t>(k)];
        write = Write::accumulate;
    }
}

void ClassLossProgram::gradient(Stream stream, View logit, const float* step, void* scratch, View diff_logit,
                                Write write) const {
    auto* const diff_binary = part_of<float>(scratch, diff_binary_);
    for (int k = 0; k < options_.channels.channels; ++k) {
        const std::optional<LossProgram>& program = programs_[static_cast<std::size_t>(k)];
        float* const own = diff_binary + k * one_.elements();
        if (program)
            program->gradient(stream, input_of(k, step, scratch),
                              part_of<void>(scratch, sums_[static_cast<std::size_t>(k)]), {own, one_},
                              Write::overwrite);
        else
            device_->set_zero(stream, own, one_.elements() * static_cast<std::int64_t>(sizeof(float)));
    }
    device_->split_classes_backward(stream, options_.channels, logit, diff_binary, diff_logit, write);
}

}  // namespace iwseg
