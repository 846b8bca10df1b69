#include "models/predictor.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "models/class_predictor.h"
#include "models/networks.h"

namespace iwseg {
namespace {

GridOptions grid_of(const PredictorOptions& options) {
    if (!(options.overlap >= 0 && options.overlap < 1))
        throw InputError("an overlap of " + std::to_string(options.overlap) +
                         " is not usable: it must be from 0 to below 1");
    const auto stride = std::llround((1 - options.overlap) * static_cast<double>(options.patch));
    return {options.patch, std::max<std::int64_t>(1, stride), options.bf16};
}

void require_elements(std::span<const float> image, std::int64_t expected) {
    if (static_cast<std::int64_t>(image.size()) != expected)
        throw std::invalid_argument("an image of " + std::to_string(image.size()) + " elements: expected " +
                                    std::to_string(expected));
}

}  // namespace

struct Predictor::State {
    State(const Context& made, const Network& network, const Parameters& weights, const PredictionSettings& stated,
          bool raw)
        : context(made), parameters(weights), in_channels(network.in_channels), settings(stated), takes_raw(raw) {
        if (settings.classes.values.empty())
            grid.emplace(context, parameters, network, settings.grid);
        else
            several.emplace(context, network, windows_of(network, settings.grid), settings.classes);
    }

    int channels() const { return in_channels + (settings.mask_channel.empty() ? 0 : 1); }
    /// What the network sees of an image's own values.
    std::vector<float> prepare(std::span<const float> image, std::size_t voxels) const;
    /// For sentences.
    std::string name_of(int channel) const;

    Context context;
    Parameters parameters;
    int in_channels;
    PredictionSettings settings;
    bool takes_raw;                         ///< an image is prepared by the settings; else it is what the network sees
    std::optional<GridPredictor> grid;      ///< of one class
    std::optional<ClassPredictor> several;  ///< of several
};

std::string Predictor::State::name_of(int channel) const {
    const auto number = static_cast<std::size_t>(channel);
    const std::string name = channel == in_channels              ? settings.mask_channel
                             : number < settings.channels.size() ? settings.channels[number]
                                                                 : "";
    return "channel " + std::to_string(channel) + (name.empty() ? "" : " (" + name + ")") + " of the image";
}

std::vector<float> Predictor::State::prepare(std::span<const float> image, std::size_t voxels) const {
    std::vector<float> mask;
    if (!settings.mask_channel.empty()) {
        const auto raw = image.last(voxels);
        mask.assign(raw.begin(), raw.end());
        replace_not_finite(mask, mask_replacement(settings.nan), name_of(in_channels));
    }
    const auto seen = image.first(static_cast<std::size_t>(in_channels) * voxels);
    std::vector<float> prepared(seen.begin(), seen.end());
    for (int c = 0; c < in_channels; ++c) {
        const auto values = std::span(prepared).subspan(static_cast<std::size_t>(c) * voxels, voxels);
        replace_not_finite(values, settings.nan, name_of(c));
        prepare_channel(values, mask, settings.intensity);
    }
    return prepared;
}

Predictor::Predictor(std::unique_ptr<State> state) : state_(std::move(state)) {}

Predictor Predictor::from_file(const Context& context, const std::filesystem::path& weights) {
    return from_file(context, network_of_weights(weights.string()), weights);
}

Predictor Predictor::from_file(const Context& context, const Network& network, const std::filesystem::path& weights) {
    const PredictionSettings settings = settings_of_file(weights);
    if (!settings.channels.empty() && static_cast<int>(settings.channels.size()) != network.in_channels)
        throw InputError(weights.string() + " names " + std::to_string(settings.channels.size()) +
                         " channels, but its network takes " + std::to_string(network.in_channels));
    const auto state_of = [&] {
        try {
            return std::make_unique<State>(context, network, Parameters(), settings, true);
        } catch (const std::invalid_argument& error) {  // of an operation, whose options are the file's
            throw InputError(weights.string() + " holds a network that cannot be made: " + error.what());
        }
    };
    auto state = state_of();
    if (state->several) {
        state->several->parameters().load(weights);
        state->several->use_weights();
    } else {
        state->parameters.load(weights);
    }
    return Predictor(std::move(state));
}

Predictor::Predictor(const Context& context, const Network& network, const std::filesystem::path& weights,
                     const PredictorOptions& options)
    : Predictor(context, network, Parameters(), options) {
    state_->parameters.load(weights);
}
Predictor::Predictor(const Context& context, const Network& network, const Parameters& weights,
                     const PredictorOptions& options)
    : state_(std::make_unique<State>(context, network, weights, PredictionSettings{.grid = grid_of(options)}, false)) {}
Predictor::~Predictor() = default;
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

Prediction Predictor::predict(std::span<const float> image, const Extent& shape, const PatchProgress& progress) {
    const auto [d, h, w] = shape;
    require_elements(image, channels() * d * h * w);
    if (!state_->grid)
        throw InputError("a network of several classes predicts labels, no probability of one lesion: call labels()");
    if (!state_->takes_raw || image.empty()) return state_->grid->predict(image.data(), d, h, w, progress);
    const std::vector<float> prepared = state_->prepare(image, static_cast<std::size_t>(d * h * w));
    return state_->grid->predict(prepared.data(), d, h, w, progress);
}

std::vector<std::int32_t> Predictor::labels(std::span<const float> image, const Extent& shape,
                                            const PatchProgress& progress) {
    require_elements(image, channels() * shape[0] * shape[1] * shape[2]);
    if (!state_->several)
        throw InputError("a network of one class predicts probabilities, no labels of several: call predict()");
    const std::vector<float> prepared =
        state_->prepare(image, static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    return state_->several->predict(prepared.data(), shape, false, progress).labels.as_i32();
}

std::vector<std::uint8_t> Predictor::mask(std::span<const float> probability, const Extent& shape,
                                          const std::array<double, 3>& spacing) const {
    const std::int64_t voxels = shape[0] * shape[1] * shape[2];
    if (static_cast<std::int64_t>(probability.size()) != voxels)
        throw std::invalid_argument("probabilities of " + std::to_string(probability.size()) + " voxels: expected " +
                                    std::to_string(voxels));
    require_usable_spacing(spacing);
    return detect(probability.data(), shape, spacing, state_->settings.rule);
}

int Predictor::channels() const {
    return state_->channels();
}

const PredictionSettings& Predictor::settings() const {
    return state_->settings;
}

std::int64_t Predictor::bytes(const Extent& shape) const {
    const auto [d, h, w] = shape;
    if (state_->several)
        return state_->several->bytes(shape, false) + std::int64_t{4} * 2 * state_->channels() * d * h * w;
    if (!state_->takes_raw) return state_->grid->bytes(d, h, w);
    // What is made of an image, and of its mask channel, is held beside the caller's.
    const int mask = state_->channels() - state_->in_channels;
    return state_->grid->bytes(d, h, w) + std::int64_t{4} * (state_->channels() + mask) * d * h * w;
}

}  // namespace iwseg
