// usage: embed WEIGHTS.safetensors   Predicts a small volume and prints its largest probability.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <vector>

#include "engine/context.h"
#include "engine/parameters.h"
#include "models/grid_prediction.h"
#include "models/unet.h"

int main(int count, char** arguments) try {
    if (count != 2) return std::fprintf(stderr, "usage: embed WEIGHTS.safetensors\n"), 2;
    iwseg::Context context;
    iwseg::Parameters parameters;
    const iwseg::Network network = iwseg::unet_of_weights(arguments[1]);
    iwseg::GridPredictor predictor(context, parameters, network, {.patch = 32, .stride = 24});
    parameters.load(arguments[1]);

    const std::int64_t d = 20, h = 37, w = 41;
    const std::vector<float> image(static_cast<std::size_t>(network.in_channels * d * h * w), 0.5f);
    const iwseg::Prediction prediction = predictor.predict(image.data(), d, h, w);
    std::printf("%zu voxels, largest probability %.4f\n", prediction.probability.size(),
                *std::max_element(prediction.probability.begin(), prediction.probability.end()));
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
