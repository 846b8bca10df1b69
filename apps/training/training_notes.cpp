#include "apps/training/training_notes.h"

#include <fmt/format.h>

namespace iwseg {

std::string large_patch_note(const std::vector<PreparedCase>& scans, const std::array<std::int64_t, 3>& patch) {
    const PreparedCase* smallest = nullptr;
    std::int64_t smaller = 0;
    for (const PreparedCase& scan : scans) {
        const std::array<std::int64_t, 3>& shape = scan.geometry.shape;
        if (shape[0] >= patch[0] && shape[1] >= patch[1] && shape[2] >= patch[2]) continue;
        ++smaller;
        if (!smallest || scan.geometry.voxels() < smallest->geometry.voxels()) smallest = &scan;
    }
    if (!smallest) return "";
    const std::array<std::int64_t, 3>& shape = smallest->geometry.shape;
    return fmt::format(
        "the patch of {} x {} x {} voxels is larger than {} of {} scans along an axis ({} has {} x {} x {}): "
        "what is missing is padded and takes time for nothing",
        patch[0], patch[1], patch[2], smaller, scans.size(), smallest->name, shape[0], shape[1], shape[2]);
}

}  // namespace iwseg
