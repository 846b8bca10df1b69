#include "studies/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "evaluation/numpy_shuffle.h"

namespace iwseg {

namespace fs = std::filesystem;

std::string Study::fingerprint(const RawCase& scan) const {
    return file_fingerprint(scan.image) + file_fingerprint(scan.mask) + file_fingerprint(scan.reading);
}

std::string Study::file_fingerprint(const fs::path& file) {
    std::error_code gone;
    const std::uintmax_t bytes = fs::file_size(file, gone);
    if (gone) return "";
    const auto changed = fs::last_write_time(file, gone).time_since_epoch().count();
    return fmt::format("{} {} {}; ", file.filename().string(), bytes, changed);
}

Split draw_validation(const std::vector<std::string>& names, std::size_t validation, std::uint32_t seed) {
    std::vector<std::size_t> order(names.size());
    std::iota(order.begin(), order.end(), 0);
    NumpyShuffle(seed).shuffle(order);
    const std::size_t held_out = names.empty() ? 0 : std::min(validation, names.size() - 1);
    Split split;
    for (std::size_t place = 0; place < order.size(); ++place)
        (place < held_out ? split.validation : split.train).push_back(names[order[place]]);
    for (auto* part : {&split.train, &split.validation}) std::sort(part->begin(), part->end());
    return split;
}

void require_finite(const Volume<float>& volume, const fs::path& file) {
    const auto bad =
        std::find_if(volume.voxels.begin(), volume.voxels.end(), [](float value) { return !std::isfinite(value); });
    if (bad == volume.voxels.end()) return;
    const std::int64_t voxel = bad - volume.voxels.begin();
    const auto [ni, nj, nk] = volume.geometry.shape;
    throw InputError(fmt::format("{} holds {} at voxel ({}, {}, {}); a CT must be finite", file.string(), *bad,
                                 voxel / (nj * nk), voxel / nk % nj, voxel % nk));
}

std::optional<std::string> apart_note(const Geometry& a, const fs::path& file_a, const Geometry& b,
                                      const fs::path& file_b) {
    try {
        require_same_geometry(a, file_a, b, file_b);
        return std::nullopt;
    } catch (const InputError&) {
        return fmt::format("{} and {} lie apart by their headers; they are joined voxel by voxel, as the study does",
                           file_a.filename().string(), file_b.filename().string());
    }
}

}  // namespace iwseg
