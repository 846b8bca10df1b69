#include "apps/training_session.h"

#include <cmath>
#include <stdexcept>

#include "engine/random.h"
#include "losses/loss_operation.h"

namespace iwseg {

struct TrainingSession::State {
    State(Context& c, Parameters& p, const TrainingOptions& o)
        : context(c),
          parameters(p),
          options(o),
          graph(c, p, {true, o.bf16, c.kernels().preferred_layout(o.network.narrowest())}) {
        image = graph.input("image", o.input);
        logit = add_unet(graph, o.network, graph.image());
        graph.program().keep(logit);
        graph.forward();
        loss = add_loss(graph, o.loss.parameters, logit, targets);
        graph.backward(logit, loss.diff_logit);
        graph.program().add({"update", {}, {}, [this](const Plan&) { update(); }});
        // Made now: a step allocates nothing.
        parameters.gradients();
        parameters.momentum();
        plan = std::make_unique<Plan>(graph.program());
    }

    void update() {
        context.kernels().sgd_update(context.stream(), {learning_rate, options.momentum, options.weight_decay, options.nesterov},
                                     parameters.learned_elements(), parameters.gradients().data(),
                                     parameters.momentum().data(), parameters.values().data());
        ++parameters.batches_tracked;
    }

    Context& context;
    Parameters& parameters;
    TrainingOptions options;
    Graph graph;
    Tensor image = -1, logit = -1;
    LossTargets targets;
    LossNodes loss;
    float learning_rate = 0;
    std::unique_ptr<Plan> plan;
};

TrainingSession::TrainingSession(Context& context, Parameters& parameters, const TrainingOptions& options)
    : state_(std::make_unique<State>(context, parameters, options)) {}

TrainingSession::~TrainingSession() = default;

std::int64_t TrainingSession::arena_bytes() const { return state_->plan->bytes(); }
Plan& TrainingSession::plan() { return *state_->plan; }
View TrainingSession::logits() const { return (*state_->plan)[state_->logit]; }

void TrainingSession::bind(const Batch& batch, float learning_rate) {
    State& s = *state_;
    if (!(batch.shape == s.options.input)) throw std::invalid_argument("a batch of another shape than the session's");
    // The plan reads the batch where it lies; it only ever reads.
    s.plan->bind(s.image, const_cast<float*>(batch.image.data()));
    s.targets.target = batch.target.data();
    s.targets.labels = s.options.loss.weighted ? batch.labels.data() : nullptr;
    s.targets.weights = s.options.loss.weighted ? batch.weights.data() : nullptr;
    s.targets.stride = batch.stride;
    s.learning_rate = learning_rate;
}

double TrainingSession::step(const Batch& batch, float learning_rate) {
    bind(batch, learning_rate);
    state_->plan->run();
    return *state_->plan->data<double>(state_->loss.value);
}

void initialise(Parameters& parameters, std::uint64_t seed) {
    for (int i = 0; i < parameters.size(); ++i) {
        const Parameter& parameter = parameters[i];
        float* values = parameters.value(i);
        if (parameter.shape.size() == 5) {
            // Kaiming uniform with a = sqrt 5: the bound is 1 / sqrt(fan in), weights and biases alike.
            const std::int64_t fan_in = parameter.elements / parameter.shape[0];
            const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
            Random random(seed, static_cast<std::uint64_t>(i), 0, Purpose::weights);
            for (std::int64_t k = 0; k < parameter.elements; ++k)
                values[k] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
            continue;
        }
        const bool ones = parameter.name.ends_with("running_var") || parameter.name.ends_with("bn.weight") || parameter.name == "2.2.weight";
        std::fill_n(values, parameter.elements, ones ? 1.0f : 0.0f);
        if (!parameter.name.ends_with("layer.bias")) continue;
        const Parameter& weight = parameters.find(parameter.name.substr(0, parameter.name.size() - 4) + "weight");
        const double bound = 1.0 / std::sqrt(static_cast<double>(weight.elements / weight.shape[0]));
        Random random(seed, static_cast<std::uint64_t>(i), 0, Purpose::weights);
        for (std::int64_t k = 0; k < parameter.elements; ++k)
            values[k] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    }
    std::fill(parameters.momentum().begin(), parameters.momentum().end(), 0.0f);
    parameters.batches_tracked = 0;
}

}  // namespace iwseg
