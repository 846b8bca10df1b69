#include "fuzz_file.h"
#include "import/torch_checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static iwseg::FuzzFile file(".pth");
    iwseg::read_or_refuse([&] {
        const iwseg::TorchCheckpoint checkpoint(file.with(data, size));
        const auto state = checkpoint.root().find("network_weights");
        if (!state) return;
        for (const auto& entry : state->entries())
            iwseg::read_or_refuse([&] { checkpoint.read(entry.second.tensor()); });
    });
    return 0;
}
