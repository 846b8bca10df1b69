#include <nifti2_io.h>

#include "data/volume/nifti.h"
#include "data/volume/nifti_header.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static iwseg::FuzzFile file(".nii");
    const std::filesystem::path& name = file.with(data, size);
    iwseg::read_or_refuse([&] {
        // A header made of what was read is one that can be read.
        const auto header = iwseg::nifti_header_bytes(iwseg::read_nifti_geometry(name), DT_UINT8);
        iwseg::parse_nifti_header("result.nii", header);
    });
    iwseg::read_or_refuse([&] { iwseg::read_nifti_image(name); });
    iwseg::read_or_refuse([&] { iwseg::read_nifti_labels(name); });
    iwseg::read_or_refuse([&] { iwseg::read_nifti_channel(name, 1); });
    return 0;
}
