#include "training/session.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/compile.h"
#include "engine/device_memory.h"
#include "engine/device_timer.h"
#include "engine/graph.h"
#include "kernels/components/component_weights.h"
#include "kernels/components/components.h"
#include "kernels/device/backend.h"
#include "losses/class_loss_program.h"
#include "losses/loss_operation.h"
#include "training/resident_scans.h"
#include "training/step_inputs.h"
#include "training/target_level.h"

namespace iwseg {

namespace {

/// Throws InputError where the device lacks the memory for a step's plan, saying which patch would fit: what a plan
/// takes grows as the voxels do.
void require_memory(const Context& context, const TrainingOptions& options, std::int64_t needed) {
    const std::int64_t free = context.backend().free_memory() - options.memory_for_others;
    if (needed <= free) return;
    const double scale = std::cbrt(0.9 * static_cast<double>(free) / static_cast<double>(needed));
    const std::int64_t divisor = options.network.divisor;
    std::array<std::int64_t, 3> patch{options.input.d, options.input.h, options.input.w};
    for (std::int64_t& side : patch)
        side = static_cast<std::int64_t>(static_cast<double>(side) * scale) / divisor * divisor;
    const bool any = *std::min_element(patch.begin(), patch.end()) > 0;
    const auto box = [](std::int64_t d, std::int64_t h, std::int64_t w, const char* between) {
        return std::to_string(d) + between + std::to_string(h) + between + std::to_string(w);
    };
    std::string text = "a step on " + std::to_string(options.input.n) + " patches of " +
                       box(options.input.d, options.input.h, options.input.w, " x ") + " in " +
                       (options.bf16 ? "bf16" : "fp32") + " needs " + gigabytes(needed) + " of memory, but " +
                       gigabytes(std::max<std::int64_t>(free, 0)) + " are free";
    if (options.memory_for_others > 0)
        text += " beside " + gigabytes(options.memory_for_others) + " for validation (validate_share = 0 does without)";
    text += any ? "; patch = [" + box(patch[0], patch[1], patch[2], ", ") + "] would fit"
                : "; no patch would fit at this batch";
    if (!options.bf16) text += ", and precision bf16 needs about two fifths less";
    throw InputError(text);
}

/// One more than any label that a step may read; 0: the loss reads none.
std::int64_t label_bound_of(const TrainingOptions& options) {
    if (options.classes) return kMostClassLabels;
    if (!options.loss.reads_labels()) return 0;
    if (options.label_bound > 0) return options.label_bound;
    const Shape mask{options.input.n, 1, options.input.d, options.input.h, options.input.w};
    if (!options.cutting) return component_label_bound(mask, kConnectivities[0]);
    // Lesions of a scan, cut by a patch, are no more than those of a patch by the same connectivity.
    std::int64_t bound = component_label_bound(mask, options.cutting->sampling.connectivity);
    for (const TrainingScan& scan : options.cutting->scans)
        bound = std::max({bound, component_label_bound(mask, scan.lesions->connectivity), scan.lesions->size() + 1});
    return bound;
}

}  // namespace

struct TrainingSession::State {
    struct ReleaseHost {
        const Backend* device;
        std::int64_t bytes;
        void operator()(double* memory) const { device->release_host(memory, bytes); }
    };

    State(Context& c, Parameters& p, const TrainingOptions& o)
        : context(c), parameters(p), options(o), inputs(c, o.input, label_bound_of(o), o.bf16), timer(c) {
        if (!o.network.build) throw std::invalid_argument("a training without a network");
        Graph graph;
        const Tensor seen = graph.input("image", o.input);
        const std::vector<Tensor> logits =
            o.network.build_levels ? o.network.build_levels(seen) : std::vector<Tensor>{o.network.build(seen)};
        const std::vector<float> weights = level_weights(logits.size());
        if (o.loss.terms.size() > 1)
            make_terms(static_cast<std::size_t>(
                std::count_if(weights.begin(), weights.end(), [](float weight) { return weight > 0; })));
        std::vector<Tensor> values;
        for (std::size_t i = 0; i < logits.size() && weights[i] > 0; ++i)
            values.push_back(loss_of(logits[i], weights[i] < 1 ? weights[i] * o.loss : o.loss,
                                     i == 0 ? inputs.targets() : inputs.targets_of(logits[i].shape()), terms_of(i)));
        Compiled made = compile(graph, c, p, {true, o.bf16, o.layout, {logits[0]}, values});
        image = made[seen], logit = made[logits[0]];
        for (const Tensor value : values) losses.push_back(made[value]);
        host_loss = {static_cast<double*>(c.backend().allocate_host(host_bytes())),
                     ReleaseHost{&c.backend(), host_bytes()}};
        const bool may_cut = o.cutting && !c.backend().host_memory && values.size() == 1;
        if (may_cut) inputs.add_cutting(made.program, image, sampling());
        optimizer = std::make_unique<Optimizer>(parameters, o.optimizer);
        optimizer->add_calls(made.program, c.backend(), [this] { return inputs.update(); });
        parameters.place(c.backend(), c.stream(), true);
        optimizer->place(c.backend(), c.stream());
        require_memory(c, o, Plan::bytes_needed(made.program));
        plan = std::make_unique<Plan>(c, made.program);
        if (may_cut) upload_scans();
    }

    Tensor loss_of(Tensor logits, const Loss& loss, std::shared_ptr<const LossTargets> targets,
                   double* term_values) const {
        return options.classes ? iwseg::loss(logits, loss, *options.classes, std::move(targets), term_values)
                               : iwseg::loss(logits, loss, std::move(targets), term_values);
    }

    /// Room for what each term adds to each resolution's loss, on the device.
    void make_terms(std::size_t levels) {
        std::vector<std::size_t> term_of_value(options.loss.terms.size());
        std::iota(term_of_value.begin(), term_of_value.end(), std::size_t{0});
        if (options.classes) term_of_value = class_term_places(options.loss, options.classes->channels);
        for (const std::size_t term : term_of_value) {
            // The same may be there twice, with two warm-ups.
            const std::string& name = options.loss.terms[term].name;
            const auto known = std::find(term_names.begin(), term_names.end(), name);
            term_places.push_back(static_cast<std::size_t>(known - term_names.begin()));
            if (known == term_names.end()) term_names.push_back(name);
        }
        terms = std::make_unique<DeviceMemory>(context.backend(),
                                               static_cast<std::int64_t>(levels * term_places.size() * sizeof(double)));
    }
    double* terms_of(std::size_t level) const {
        return terms ? reinterpret_cast<double*>(terms->data()) + level * term_places.size() : nullptr;
    }

    const SamplingOptions& sampling() const {
        const SamplingOptions& chosen = options.cutting->sampling;
        const Shape shape{chosen.batch, options.cutting->scans.at(0).channels, chosen.patch[0], chosen.patch[1],
                          chosen.patch[2]};
        if (!(shape == options.input))
            throw std::invalid_argument("a sampler whose patches are not the session's input");
        return chosen;
    }

    void upload_scans() {
        // The plan has its arena by now; a fifth of it is kept free for what libraries allocate later.
        constexpr std::int64_t kLeastFree = 256 << 20;
        const std::int64_t room = options.memory_for_scans.value_or(
            context.backend().free_memory() - std::max(kLeastFree, plan->bytes() / 5) - options.memory_for_others);
        if (ResidentScans::bytes_needed(options.cutting->scans) > room) return;
        scans = std::make_unique<ResidentScans>(context, options.cutting->scans);
        inputs.use(*scans);
    }

    void bind(bool recorded_holds) {
        if (!recorded_holds) plan->invalidate_capture();
        plan->bind(image, inputs.image());
    }

    /// Of the losses, then of their terms.
    std::int64_t host_bytes() const {
        return static_cast<std::int64_t>(losses.size() * sizeof(double)) + (terms ? terms->bytes() : 0);
    }
    void copy_loss() {
        for (std::size_t i = 0; i < losses.size(); ++i)
            context.backend().copy_to_host(context.stream(), plan->data<double>(losses[i]), host_loss.get() + i,
                                           sizeof(double));
        if (terms)
            context.backend().copy_to_host(context.stream(), terms->data(), host_loss.get() + losses.size(),
                                           terms->bytes());
    }

    StepOutcome outcome(double seconds) const {
        double* const of_terms = host_loss.get() + losses.size();
        StepOutcome made{std::accumulate(host_loss.get(), of_terms, 0.0), seconds};
        if (!terms) return made;
        for (const std::string& name : term_names) made.terms.push_back({name});
        for (std::size_t i = 0; i < losses.size() * term_places.size(); ++i)
            made.terms[term_places[i % term_places.size()]].value += of_terms[i];
        return made;
    }

    Context& context;
    Parameters& parameters;
    TrainingOptions options;
    std::unique_ptr<ResidentScans> scans;
    StepInputs inputs;
    std::vector<Buffer> losses;           ///< of each resolution that has a weight
    std::unique_ptr<DeviceMemory> terms;  ///< what terms add to each of them; null where there is one term
    std::vector<std::string> term_names;
    std::vector<std::size_t> term_places;  ///< of each value of a resolution, which of those it is a part of
    std::unique_ptr<double, ReleaseHost> host_loss{nullptr, {}};  ///< where the device copies all to by itself
    DeviceTimer timer;
    Buffer image, logit;
    std::unique_ptr<Optimizer> optimizer;
    std::unique_ptr<Plan> plan;
};

TrainingSession::TrainingSession(Context& context, Parameters& parameters, const TrainingOptions& options)
    : state_(std::make_unique<State>(context, parameters, options)) {}

TrainingSession::~TrainingSession() = default;

std::int64_t TrainingSession::arena_bytes() const {
    return state_->plan->bytes();
}
std::int64_t TrainingSession::resident_bytes() const {
    return state_->scans ? state_->scans->bytes() : 0;
}
Optimizer& TrainingSession::optimizer() {
    return *state_->optimizer;
}
Plan& TrainingSession::plan() {
    return *state_->plan;
}
std::vector<float> TrainingSession::logits() const {
    const State& s = *state_;
    std::vector<float> host(static_cast<std::size_t>((*s.plan)[s.logit].shape.elements()));
    s.plan->read(s.logit, host.data());
    return host;
}

void TrainingSession::bind(const Batch& batch, float learning_rate) {
    State& s = *state_;
    if (!(batch.shape == s.options.input)) throw std::invalid_argument("a batch of another shape than the session's");
    s.bind(s.inputs.set(batch, s.optimizer->next(learning_rate)));
}

void TrainingSession::bind(const std::vector<PatchPlace>& places, float learning_rate) {
    State& s = *state_;
    s.bind(s.inputs.set(places, s.optimizer->next(learning_rate)));
}

void TrainingSession::start() {
    State& s = *state_;
    s.timer.start();
    s.plan->run();
    s.copy_loss();
    s.timer.stop();
}

StepOutcome TrainingSession::finish() {
    State& s = *state_;
    const double seconds = s.timer.wait();
    s.optimizer->finish();
    s.parameters.set_batches_tracked(s.parameters.batches_tracked() + 1);
    return s.outcome(seconds);
}

double TrainingSession::run() {
    start();
    return finish().loss;
}

StepOutcome TrainingSession::run_timed(StepTimes& times) {
    State& s = *state_;
    s.timer.start();
    times = s.plan->run_timed();
    s.copy_loss();
    s.timer.stop();
    return finish();
}

double TrainingSession::step(const Batch& batch, float learning_rate) {
    bind(batch, learning_rate);
    return run();
}

}  // namespace iwseg
