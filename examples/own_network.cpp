// A network of one's own: trained on made-up volumes, saved, and used to predict.
#include "made_up_lesions.h"

using namespace iwseg;

Tensor network(Tensor x) {
    std::vector<Tensor> skips;
    for (int channels : {8, 16, 32}) {
        x = leaky_relu(instance_norm(conv(x, {.channels = channels, .stride = skips.empty() ? 1 : 2})));
        skips.push_back(x);
    }
    for (int level : {1, 0})
        x = leaky_relu(instance_norm(conv(concat(upsample(x), skips[level]), {.channels = 8 << level})));
    return conv(x, {.channels = 1, .kernel = 1});
}

int main() try {
    Context context;  // the GPU where there is one
    Trainer trainer(context, network, dice() + bce(), Sgd{.momentum = 0.9f},
                    {.input = {2, 1, 16, 16, 16}, .precision = Precision::bf16});
    std::puts(trainer.description().c_str());
    MadeUpLesions lesions({2, 1, 16, 16, 16});
    for (int step = 0; step < 60; ++step) {
        const auto [image, target] = lesions.next_batch();  // spans of host memory
        const double loss = trainer.step(image, target, {.rate = 0.03f});
        if (step % 20 == 19) std::printf("loss %.3f after %d steps\n", loss, step + 1);
    }
    trainer.parameters().save("network.safetensors");
    const auto [scan, truth] = lesions.next_batch();
    Predictor predictor(context, network, "network.safetensors", {.patch = 16, .overlap = 0.5});
    return lesions.agrees(predictor.predict(scan.first(16 * 16 * 16), {16, 16, 16}), truth) ? 0 : 1;
} catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
}
