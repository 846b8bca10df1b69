#include "losses/loss_program.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "kernels/components/nearest_lesion.h"
#include "kernels/components/size_weights.h"
#include "kernels/loss/lesion_input.h"
#include "losses/loss_passes.h"
#include "losses/region_passes.h"

namespace iwseg {
namespace {

bool has(const Loss& loss, TermKind kind) {
    return std::any_of(loss.terms.begin(), loss.terms.end(), [&](const LossTerm& term) { return term.kind == kind; });
}

/// The pass of a term that has one to itself.
template <class Formula>
LossPass pass_of(const LossTerm& term) {
    return {formulas::Scaled<Formula>{std::get<Formula>(term.formula), term.factor}, true, term.warmup_steps};
}

char* at(const void* scratch, std::int64_t place) {
    return static_cast<char*>(const_cast<void*>(scratch)) + place;
}

}  // namespace

LossProgram::LossProgram(const Loss& loss, const Backend& device, const Shape& logit, std::int64_t label_bound)
    : device_(&device), shape_(logit), label_bound_(label_bound > 0 ? label_bound : logit.voxels() + 1) {
    const std::int64_t sums = device.loss_scratch_bytes(logit);
    for (const LossPass& pass : loss_passes(loss)) add({pass}, sums);
    for (int i = 0; i < static_cast<int>(loss.terms.size()); ++i)
        for (const LossPass& pass : loss_passes({"", {loss.terms[static_cast<std::size_t>(i)]}}))
            single_.push_back({pass, Weights::as_given, steps_.front().scratch, i});
    if (has(loss, TermKind::size_weighted))
        size_weights_ = take(logit.n * label_bound_ * static_cast<std::int64_t>(sizeof(float)));
    if (has(loss, TermKind::regions)) {
        nearest_ = take(logit.elements() * static_cast<std::int64_t>(sizeof(std::int32_t)));
        searched_ = take(device.nearest_lesion_scratch_bytes(logit));
    }
    const std::int64_t region_sums = device.region_loss_scratch_bytes(logit, label_bound_);
    for (int i = 0; i < static_cast<int>(loss.terms.size()); ++i) {
        const LossTerm& term = loss.terms[static_cast<std::size_t>(i)];
        for (const RegionPass& pass : region_passes(term)) add({pass, Weights::as_given, 0, i}, region_sums);
        if (term.kind == TermKind::size_weighted)
            add({pass_of<formulas::PatchTversky>(term), Weights::by_size, 0, i}, sums);
        else if (term.kind == TermKind::hardest_voxels)
            add({HardestPass{term.percent, term.factor, term.warmup_steps}, Weights::as_given, 0, i},
                device.hardest_voxels_scratch_bytes(logit));
        else if (term.kind == TermKind::lesion_maximum)
            add({LesionMaximumPass{term.factor, term.warmup_steps}, Weights::as_given, 0, i},
                device.lesion_maximum_scratch_bytes(logit, label_bound_));
        else if (term.kind == TermKind::instances)
            add({InstancePass{term.factor, term.warmup_steps, term.connectivity}, Weights::as_given, 0, i},
                device.instance_loss_scratch_bytes(logit, label_bound_, term.connectivity));
    }
}

std::int64_t LossProgram::take(std::int64_t bytes) {
    return std::exchange(bytes_, bytes_ + aligned(bytes));
}

void LossProgram::add(Step step, std::int64_t scratch_bytes) {
    step.scratch = take(scratch_bytes);
    steps_.push_back(step);
}

LossInput LossProgram::input_of(const Step& step, const LossInput& input, const void* scratch) const {
    LossInput own = input;
    if (step.weights == Weights::by_size) own.weights = reinterpret_cast<const float*>(at(scratch, size_weights_));
    if (nearest_ >= 0) own.nearest = reinterpret_cast<const std::int32_t*>(at(scratch, nearest_));
    return own;
}

/// What terms of single lesions read beside labels.
void LossProgram::look_at_lesions(Stream stream, const LossInput& input, void* scratch) const {
    const View target{const_cast<std::uint8_t*>(input.target), shape_, Type::u8};
    const View labels{const_cast<std::int32_t*>(input.labels), shape_, Type::i32};
    if (size_weights_ >= 0)
        device_->size_weights(stream, target, labels, reinterpret_cast<float*>(at(scratch, size_weights_)),
                              input.stride);
    if (nearest_ >= 0)
        device_->nearest_lesion(stream, target, labels, reinterpret_cast<std::int32_t*>(at(scratch, nearest_)),
                                at(scratch, searched_));
}

void LossProgram::compute(Stream stream, const Step& step, const LossInput& input, void* scratch, double* value,
                          Write write) const {
    const LossInput own = input_of(step, input, scratch);
    void* const sums = at(scratch, step.scratch);
    if (const auto* pass = std::get_if<LossPass>(&step.pass))
        device_->loss_value(stream, *pass, own, sums, value, write);
    else if (const auto* region_pass = std::get_if<RegionPass>(&step.pass))
        device_->region_loss_value(stream, *region_pass, own, sums, value, write);
    else if (const auto* instances = std::get_if<InstancePass>(&step.pass))
        device_->instance_loss_value(stream, *instances, own, sums, value, write);
    else if (const auto* hardest = std::get_if<HardestPass>(&step.pass))
        device_->hardest_voxels_value(stream, *hardest, own, sums, value, write);
    else
        device_->lesion_maximum_value(stream, std::get<LesionMaximumPass>(step.pass), own, sums, value, write);
}

/// Before the steps themselves, which leave in their scratch what the gradient reads.
void LossProgram::compute_terms(Stream stream, const LossInput& input, void* scratch, double* terms) const {
    for (const Step& step : single_) compute(stream, step, input, scratch, terms + step.term, Write::overwrite);
    int before = kSeveral;
    for (const Step& step : steps_) {
        if (step.term == kSeveral) continue;
        compute(stream, step, input, scratch, terms + step.term,
                step.term == before ? Write::accumulate : Write::overwrite);
        before = step.term;
    }
}

void LossProgram::value(Stream stream, const LossInput& input, void* scratch, double* value, Write write,
                        double* terms) const {
    if (input.stride > label_bound_ || !(input.logit.shape == shape_))
        throw std::invalid_argument("a loss of logits of another shape, or of more labels (" +
                                    std::to_string(input.stride) + ") than it was made for (" +
                                    std::to_string(label_bound_) + ")");
    if (size_weights_ >= 0 || nearest_ >= 0) formulas::require_lesion_input(input, "loss");
    look_at_lesions(stream, input, scratch);
    if (terms) compute_terms(stream, input, scratch, terms);
    for (const Step& step : steps_) {
        compute(stream, step, input, scratch, value, write);
        write = Write::accumulate;
    }
}

void LossProgram::gradient(Stream stream, const LossInput& input, const void* scratch, View diff_logit,
                           Write write) const {
    for (const Step& step : steps_) {
        const LossInput own = input_of(step, input, scratch);
        const void* const sums = at(scratch, step.scratch);
        if (const auto* pass = std::get_if<LossPass>(&step.pass))
            device_->loss_gradient(stream, *pass, own, sums, diff_logit, write);
        else if (const auto* region_pass = std::get_if<RegionPass>(&step.pass))
            device_->region_loss_gradient(stream, *region_pass, own, sums, diff_logit, write);
        else if (const auto* instances = std::get_if<InstancePass>(&step.pass))
            device_->instance_loss_gradient(stream, *instances, own, sums, diff_logit, write);
        else if (const auto* hardest = std::get_if<HardestPass>(&step.pass))
            device_->hardest_voxels_gradient(stream, *hardest, own, sums, diff_logit, write);
        else
            device_->lesion_maximum_gradient(stream, std::get<LesionMaximumPass>(step.pass), own, sums, diff_logit,
                                             write);
        write = Write::accumulate;
    }
}

}  // namespace iwseg
