#include "engine/safetensors.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static iwseg::FuzzFile file(".safetensors");
    const std::filesystem::path& name = file.with(data, size);
    iwseg::read_or_refuse([&] {
        for (const auto& [tensor, stored] : iwseg::read_safetensors(name)) stored.as_f32();
    });
    return 0;
}
