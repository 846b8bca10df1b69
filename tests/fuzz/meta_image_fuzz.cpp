#include "data/volume/meta_image.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static iwseg::FuzzFile file(".mha");
    const std::filesystem::path& name = file.with(data, size);
    iwseg::read_or_refuse([&] { iwseg::read_meta_header(name); });
    iwseg::read_or_refuse([&] { iwseg::read_meta_image(name); });
    iwseg::read_or_refuse([&] { iwseg::read_meta_labels(name); });
    return 0;
}
