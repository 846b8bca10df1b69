// usage: predict WEIGHTS.safetensors   Predicts a small volume and prints its largest probability.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <vector>

#include <iwseg/iwseg.h>

int main(int count, char** arguments) try {
    if (count != 2) return std::fprintf(stderr, "usage: predict WEIGHTS.safetensors\n"), 2;
    const iwseg::Network network = iwseg::network_of_weights(arguments[1]);
    iwseg::Predictor predictor(iwseg::Context(), network, arguments[1], {.patch = 32, .overlap = 0.25});

    const iwseg::Extent shape{20, 37, 41};
    const std::vector<float> image(static_cast<std::size_t>(network.in_channels * shape[0] * shape[1] * shape[2]),
                                   0.5f);
    const iwseg::Prediction prediction = predictor.predict(image, shape);
    std::printf("%zu voxels, largest probability %.4f\n", prediction.probability.size(),
                *std::max_element(prediction.probability.begin(), prediction.probability.end()));
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
