// usage: with_settings WEIGHTS.safetensors OUT.safetensors   Gives weights that another program trained (PyTorch's
// state_dict, saved as safetensors) what Predictor::from_file and the C interface want to know: how scans are read for
// them.
#include <cstdio>
#include <exception>

#include <iwseg/iwseg.h>

int main(int count, char** arguments) try {
    if (count != 3) return std::fprintf(stderr, "usage: with_settings WEIGHTS.safetensors OUT.safetensors\n"), 2;
    const iwseg::PredictionSettings settings{.intensity = {iwseg::Intensity::Kind::zscore},
                                             .channels = {"FLAIR", "T1"},
                                             .grid = {.patch = 32, .stride = 24}};
    std::vector<iwseg::TensorToStore> stored;
    const auto tensors = iwseg::read_safetensors(arguments[1]);
    for (const auto& [name, tensor] : tensors) stored.push_back({name, tensor.type, tensor.shape, tensor.bytes});
    iwseg::write_safetensors(arguments[2], stored, iwseg::metadata_of(settings));
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
