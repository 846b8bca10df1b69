#include "fuzz_file.h"
#include "studies/lidc_reading.h"
#include "studies/polygon_fill.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static iwseg::FuzzFile file(".xml");
    const std::filesystem::path& name = file.with(data, size);
    iwseg::read_or_refuse([&] { iwseg::lidc_series_uid(name); });
    iwseg::read_or_refuse([&] {
        for (const auto& session : iwseg::read_lidc(name).sessions)
            for (const iwseg::Nodule& nodule : session)
                for (const iwseg::Roi& roi : nodule.rois) iwseg::fill_polygon(roi.points, {61, 47});
    });
    return 0;
}
