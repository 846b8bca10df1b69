// For cold_start.py: predicts FOLDER/patch.f32, 48^3, by FOLDER/network.pt, prints the sum of probabilities, waits.
#include <torch/script.h>

#include <cstdio>
#include <fstream>
#include <string>

int main(int count, char** arguments) {
    constexpr std::int64_t side = 48;
    if (count != 2) return 2;
    const std::string folder = arguments[1];
    torch::Tensor image = torch::empty({1, 1, side, side, side});
    std::ifstream(folder + "/patch.f32", std::ios::binary)
        .read(static_cast<char*>(image.data_ptr()), side * side * side * static_cast<std::int64_t>(sizeof(float)));
    const c10::InferenceMode inference;
    torch::jit::Module network = torch::jit::load(folder + "/network.pt");
    std::printf("%.6f\n", torch::sigmoid(network.forward({image}).toTensor()).sum(torch::kFloat64).item<double>());
    std::fflush(stdout);
    std::getchar();
}
