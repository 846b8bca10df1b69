#include "data/volume/nrrd.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static iwseg::FuzzFile file(".nrrd");
    const std::filesystem::path& name = file.with(data, size);
    iwseg::read_or_refuse([&] { iwseg::read_nrrd_geometry(name); });
    iwseg::read_or_refuse([&] { iwseg::read_nrrd_image(name); });
    iwseg::read_or_refuse([&] { iwseg::read_nrrd_labels(name); });
    return 0;
}
