// usage: predict WEIGHTS.safetensors   Predicts a small volume, its values as a scanner gave them, and says what it
// found.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <vector>

#include <iwseg/iwseg.h>

int main(int count, char** arguments) try {
    if (count != 2) return std::fprintf(stderr, "usage: predict WEIGHTS.safetensors\n"), 2;
    iwseg::Predictor predictor = iwseg::Predictor::from_file(iwseg::Context(), arguments[1]);

    const iwseg::Extent shape{20, 37, 41};
    std::vector<float> image(static_cast<std::size_t>(predictor.channels() * shape[0] * shape[1] * shape[2]));
    for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i * 7919 % 1000);
    const iwseg::Prediction prediction = predictor.predict(image, shape);
    const std::vector<std::uint8_t> mask = predictor.mask(prediction.probability, shape, {3, 1, 1});
    std::printf("%zu voxels, largest probability %.6f, %td of them lesion\n", prediction.probability.size(),
                *std::max_element(prediction.probability.begin(), prediction.probability.end()),
                std::count(mask.begin(), mask.end(), 1));
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
