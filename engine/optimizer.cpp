#include "engine/optimizer.h"

#include <cmath>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "engine/plan.h"
#include "engine/safetensors.h"
#include "engine/stored_parameter.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

/// The array of an optimizer's file that counts its steps.
constexpr const char* kSteps = "steps";

void require(bool good, const char* what) {
    if (!good) throw std::invalid_argument(what);
}

void check(const Sgd& sgd) {
    require(sgd.momentum >= 0 && sgd.momentum < 1, "an SGD whose momentum is not from 0 to below 1");
    require(sgd.weight_decay >= 0, "an SGD whose weight decay is below 0");
}
void check(const AdamW& adam) {
    require(adam.beta1 >= 0 && adam.beta1 < 1 && adam.beta2 >= 0 && adam.beta2 < 1,
            "an AdamW whose betas are not from 0 to below 1");
    require(adam.epsilon > 0, "an AdamW whose epsilon is not above 0");
    require(adam.weight_decay >= 0, "an AdamW whose weight decay is below 0");
}

}  // namespace

Optimizer::Optimizer(const Parameters& parameters, const OptimizerOptions& options)
    : parameters_(parameters), options_(options) {
    std::visit([](const auto& rule) { check(rule); }, options.rule);
    require(options.batches >= 1, "a step of fewer than one batch");
    require(options.clip_norm >= 0, "a norm to clip at that is below 0");
    require(options.average >= 0 && options.average < 1, "a moving average whose decay is not from 0 to below 1");
    if (std::holds_alternative<Sgd>(options.rule)) {
        add("", true, true);
    } else {
        add(".exp_avg", true, true);
        add(".exp_avg_sq", true, true);
    }
    if (options.batches > 1) sum_ = &add("", true, false);
    if (averages()) {
        average_ = &add(".average", true, true);
        average_statistics_ = &add(".average", false, true);
    }
}

Optimizer::State& Optimizer::add(const std::string& ending, bool learned, bool saved) {
    states_.push_back(std::make_unique<State>());
    State& state = *states_.back();
    state.ending = ending, state.learned = learned, state.saved = saved;
    state.values.host.assign((learned ? parameters_.values() : parameters_.statistics()).size(), 0.0f);
    return state;
}

void Optimizer::place(const Backend& device, Stream stream) {
    if (device.host_memory) return;
    device_ = &device;
    stream_ = stream;
    for (const auto& state : states_) state->values.place(device, stream);
    device.synchronise(stream);
}

std::int64_t Optimizer::bytes() const {
    std::int64_t bytes = 0;
    for (const auto& state : states_) bytes += state->values.bytes();
    return bytes;
}

void Optimizer::add_calls(Program& program, const Backend& device, std::function<const UpdateStep*()> step) {
    const std::int64_t count = parameters_.learned_elements();
    const auto add = [&](const char* name, int arrays, std::vector<Buffer> scratch,
                         std::function<void(const Plan&)> run) {
        Call call{name, name, {}, std::move(scratch), std::move(run)};
        call.bytes_outside = arrays * count * static_cast<std::int64_t>(sizeof(float));
        program.add(std::move(call));
    };
    if (sum_) {
        const float factor = 1.0f / static_cast<float>(options_.batches);
        add("accumulate gradients", 4, {}, [=, this](const Plan& plan) {
            plan.device().accumulate_gradient(plan.stream(), step(), factor, count, parameters_.device_gradients(),
                                              sum_->values.on_device());
        });
    }
    if (options_.clip_norm > 0) {
        const Buffer scratch = program.add_bytes("gradient norm", device.clip_scratch_bytes(count));
        add("clip gradients", 3, {scratch}, [=, this](const Plan& plan) {
            plan.device().clip_gradient(plan.stream(), options_.clip_norm, count, parameters_.device_gradients(),
                                        plan[scratch].data);
        });
    }
    // Read are gradients, the rule's arrays and values; all but gradients are written.
    if (const Sgd* sgd = std::get_if<Sgd>(&options_.rule))
        add("update", 5, {}, [=, this, options = *sgd](const Plan& plan) {
            plan.device().sgd_update(plan.stream(), options, step(), count, parameters_.device_gradients(),
                                     states_[0]->values.on_device(), parameters_.device_values());
        });
    else
        add("update", 7, {}, [=, this, options = std::get<AdamW>(options_.rule)](const Plan& plan) {
            plan.device().adamw_update(plan.stream(), options, step(), count, parameters_.device_gradients(),
                                       states_[0]->values.on_device(), states_[1]->values.on_device(),
                                       parameters_.device_values());
        });
    if (average_)
        add("average weights", 3, {}, [=, this](const Plan& plan) {
            const auto statistics = static_cast<std::int64_t>(parameters_.statistics().size());
            plan.device().average_values(plan.stream(), step(), count, parameters_.device_values(),
                                         average_->values.on_device());
            if (statistics > 0)
                plan.device().average_values(plan.stream(), step(), statistics, parameters_.device_statistics(),
                                             average_statistics_->values.on_device());
        });
}

UpdateStep Optimizer::next(float rate) {
    const std::int64_t batch = prepared_++ % options_.batches, step = (prepared_ - 1) / options_.batches + 1;
    UpdateStep next{.rate = rate,
                    .step = static_cast<float>(step - 1),
                    .first_batch = batch == 0,
                    .last_batch = batch == options_.batches - 1};
    // The first average is what the first step leaves.
    next.average_share = step == 1 ? 1.0f : 1.0f - options_.average;
    if (const AdamW* adam = std::get_if<AdamW>(&options_.rule)) {
        const auto t = static_cast<double>(step);
        next.mean_factor = static_cast<float>(1.0 / (1.0 - std::pow(double{adam->beta1}, t)));
        next.deviation_factor = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(double{adam->beta2}, t)));
    }
    return next;
}

void Optimizer::copy_averages(Parameters& to) {
    if (!average_ || steps() == 0) throw std::logic_error("averages of weights that are not there");
    if (to.values().size() != parameters_.values().size() || to.statistics().size() != parameters_.statistics().size())
        throw std::invalid_argument("averages for a network of other arrays");
    download();
    to.values() = average_->values.host;
    to.statistics() = average_statistics_->values.host;
    to.set_batches_tracked(parameters_.batches_tracked());
    to.upload();
}

std::vector<float>& Optimizer::array(const std::string& ending) {
    for (const auto& state : states_)
        if (state->saved && state->learned && state->ending == ending) return state->values.host;
    throw std::out_of_range("an optimizer without the arrays NAME" + ending);
}

void Optimizer::upload() {
    if (!device_) return;
    for (const auto& state : states_) state->values.upload(*device_, stream_);
    device_->synchronise(stream_);
}

void Optimizer::download() {
    if (!device_) return;
    for (const auto& state : states_) state->values.download(*device_, stream_);
    device_->synchronise(stream_);
}

void Optimizer::for_saved(const std::function<void(const std::string&, const Parameter&, float*)>& body) {
    for (const auto& state : states_)
        for (const Parameter& parameter : parameters_.list())
            if (state->saved && parameter.learned == state->learned)
                body(parameter.name + state->ending, parameter, state->values.host.data() + parameter.offset);
}

void Optimizer::save(const std::filesystem::path& file) {
    if (finished_ % options_.batches != 0) throw std::logic_error("an optimizer saved between the batches of a step");
    download();
    std::vector<TensorToStore> tensors;
    for_saved([&](const std::string& name, const Parameter& parameter, const float* values) {
        tensors.push_back(to_store(name, parameter, values));
    });
    const std::int64_t count = steps();
    tensors.push_back({kSteps, "I64", {}, std::as_bytes(std::span(&count, 1))});
    write_safetensors(file, tensors);
}

void Optimizer::load(const std::filesystem::path& file) {
    const auto stored = read_safetensors(file);
    const auto counter = stored.find(kSteps);
    const bool counted = counter != stored.end() && counter->second.elements() == 1;
    // Files of earlier versions have no count, and SGD by itself does without.
    if (!counted && (averages() || !std::holds_alternative<Sgd>(options_.rule)))
        throw InputError(file.string() + " has no count of steps, which the optimizer needs");
    const std::int64_t count = counted ? counter->second.as_i32()[0] : 0;
    for_saved([&](const std::string& name, const Parameter& parameter, float* values) {
        copy_stored(file, stored, name, parameter, values);
    });
    prepared_ = finished_ = count * options_.batches;
    upload();
}

}  // namespace iwseg
