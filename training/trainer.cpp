#include "training/trainer.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/initialisation.h"
#include "kernels/components/component_weights.h"
#include "training/session.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

fs::path model_in(const fs::path& folder) {
    return folder / "model.safetensors";
}
fs::path optimizer_in(const fs::path& folder) {
    return folder / "optimizer.safetensors";
}

TrainingOptions session_options(const Network& network, const Loss& loss, const std::variant<Sgd, AdamW>& rule,
                                const TrainerOptions& options) {
    TrainingOptions session;
    session.network = network;
    session.loss = loss;
    session.bf16 = options.precision == Precision::bf16;
    session.input = options.input;
    if (loss.reads_labels())
        session.label_bound =
            component_label_bound({1, 1, options.input.d, options.input.h, options.input.w}, options.connectivity);
    session.optimizer = {rule, options.batches, options.clip_norm, options.average};
    return session;
}

void require_size(const char* what, std::size_t given, std::int64_t expected) {
    if (static_cast<std::int64_t>(given) != expected)
        throw std::invalid_argument("a step's " + std::string(what) + " of " + std::to_string(given) +
                                    " elements: expected " + std::to_string(expected));
}

}  // namespace

struct Trainer::State {
    State(const Context& made, const Network& network, const Loss& loss, const std::variant<Sgd, AdamW>& rule,
          const TrainerOptions& chosen)
        : context(made),
          options(chosen),
          weighted(loss.reads_labels()),
          session(context, trained, session_options(network, loss, rule, chosen)) {
        initialise(context, trained, chosen.seed);
        const Shape& shape = chosen.input;
        batch.shape = shape;
        batch.image.resize(static_cast<std::size_t>(shape.elements()));
        batch.target.resize(static_cast<std::size_t>(shape.n * shape.voxels()));
        for (const Parameter& p : trained.list())
            if (session.optimizer().averages()) averages.declare({p.name, p.shape, p.initial, p.learned});
        if (!weighted) return;
        const Shape mask{shape.n, 1, shape.d, shape.h, shape.w};
        batch.stride = component_label_bound(mask, chosen.connectivity);
        batch.labels.resize(batch.target.size());
        batch.weights.resize(static_cast<std::size_t>(shape.n * batch.stride));
        scratch.resize(
            static_cast<std::size_t>(cpu::component_weights_scratch_bytes(mask, chosen.connectivity) / 8 + 1));
    }

    /// Finds the components of the batch's target and weights them.
    void weight_components() {
        const Shape& shape = options.input;
        const Shape mask{shape.n, 1, shape.d, shape.h, shape.w};
        std::fill(batch.labels.begin(), batch.labels.end(), 0);
        cpu::component_weights(context.host(), {batch.target.data(), mask, Type::u8}, options.connectivity, {},
                               {batch.labels.data(), mask, Type::i32}, batch.weights.data(), scratch.data());
    }

    Context context;
    TrainerOptions options;
    bool weighted;
    Parameters trained, averages;
    TrainingSession session;
    Batch batch;
    std::vector<double> scratch;  ///< for components
};

Trainer::Trainer(const Context& context, const Network& network, const Loss& loss, const std::variant<Sgd, AdamW>& rule,
                 const TrainerOptions& options)
    : state_(std::make_unique<State>(context, network, loss, rule, options)) {}
Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

double Trainer::step(std::span<const float> image, std::span<const std::uint8_t> target, const StepOptions& options) {
    State& s = *state_;
    require_size("image", image.size(), s.options.input.elements());
    require_size("target", target.size(), s.options.input.n * s.options.input.voxels());
    const auto other =
        std::find_if(target.begin(), target.end(), [](std::uint8_t value) { return value > 1 && value != kIgnored; });
    if (other != target.end())
        throw std::invalid_argument("a target that holds " + std::to_string(*other) + ": expected 0, 1 or " +
                                    std::to_string(kIgnored));
    std::copy(image.begin(), image.end(), s.batch.image.begin());
    std::copy(target.begin(), target.end(), s.batch.target.begin());
    if (s.weighted) s.weight_components();
    return s.session.step(s.batch, options.rate);
}

Parameters Trainer::parameters() {
    State& s = *state_;
    if (!s.session.optimizer().averages() || steps() == 0) return s.trained;
    s.session.optimizer().copy_averages(s.averages);
    return s.averages;
}

std::int64_t Trainer::steps() const {
    return state_->session.optimizer().steps();
}

std::int64_t Trainer::bytes() const {
    State& s = *state_;
    const auto parameters = static_cast<std::int64_t>(2 * s.trained.values().size() + s.trained.statistics().size());
    return s.session.arena_bytes() + s.session.optimizer().bytes() +
           parameters * static_cast<std::int64_t>(sizeof(float));
}

std::string Trainer::description() const {
    const State& s = *state_;
    const Shape& input = s.options.input;
    std::string text;
    for (const std::int64_t side : {input.n, input.c, input.d, input.h, input.w})
        text += (text.empty() ? "" : " x ") + std::to_string(side);
    return text + (s.options.precision == Precision::bf16 ? " in bf16" : " in fp32") + ": " +
           std::to_string(s.trained.learned_elements()) + " parameters, " + gigabytes(bytes()) + " on " +
           s.context.description();
}

void Trainer::save(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw InputError("cannot create the folder " + folder.string() + ": " + error.message());
    state_->session.optimizer().save(optimizer_in(folder));
    state_->trained.save(model_in(folder));
}

void Trainer::load(const fs::path& folder) {
    state_->trained.load(model_in(folder));
    state_->session.optimizer().load(optimizer_in(folder));
}

}  // namespace iwseg
