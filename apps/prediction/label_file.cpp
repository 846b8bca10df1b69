#include "apps/prediction/label_file.h"

#include <algorithm>
#include <limits>

namespace iwseg {

void write_label_file(const std::filesystem::path& file, const Volume<std::int32_t>& labels,
                      const std::vector<std::int32_t>& values) {
    const std::int32_t most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
    const auto as = [&](auto type) {
        Volume<decltype(type)> narrow{labels.geometry, {}};
        narrow.voxels.assign(labels.voxels.begin(), labels.voxels.end());
        write_volume(file, narrow);
    };
    if (most <= std::numeric_limits<std::uint8_t>::max())
        as(std::uint8_t{});
    else if (most <= std::numeric_limits<std::int16_t>::max())
        as(std::int16_t{});
    else
        write_volume(file, labels);
}

}  // namespace iwseg
