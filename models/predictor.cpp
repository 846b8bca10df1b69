#include "models/predictor.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/error.h"

namespace iwseg {
namespace {

GridOptions grid_of(const PredictorOptions& options) {
    if (!(options.overlap >= 0 && options.overlap < 1))
        throw InputError("an overlap of " + std::to_string(options.overlap) +
                         " is not usable: it must be from 0 to below 1");
    const auto stride = std::llround((1 - options.overlap) * static_cast<double>(options.patch));
    return {options.patch, std::max<std::int64_t>(1, stride), options.bf16};
}

}  // namespace

struct Predictor::State {
    State(const Context& made, const Network& network, const Parameters& weights, const PredictorOptions& options)
        : context(made),
          parameters(weights),
          in_channels(network.in_channels),
          grid(context, parameters, network, grid_of(options)) {}

    Context context;
    Parameters parameters;
    int in_channels;
    GridPredictor grid;
};

Predictor::Predictor(const Context& context, const Network& network, const std::filesystem::path& weights,
                     const PredictorOptions& options)
    : Predictor(context, network, Parameters(), options) {
    state_->parameters.load(weights);
}
Predictor::Predictor(const Context& context, const Network& network, const Parameters& weights,
                     const PredictorOptions& options)
    : state_(std::make_unique<State>(context, network, weights, options)) {}
Predictor::~Predictor() = default;
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

Prediction Predictor::predict(std::span<const float> image, const Extent& shape, const PatchProgress& progress) {
    const auto [d, h, w] = shape;
    const std::int64_t expected = state_->in_channels * d * h * w;
    if (static_cast<std::int64_t>(image.size()) != expected)
        throw std::invalid_argument("an image of " + std::to_string(image.size()) + " elements: expected " +
                                    std::to_string(expected));
    return state_->grid.predict(image.data(), d, h, w, progress);
}

std::int64_t Predictor::bytes(const Extent& shape) const {
    return state_->grid.bytes(shape[0], shape[1], shape[2]);
}

}  // namespace iwseg
