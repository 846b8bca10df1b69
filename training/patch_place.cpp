#include "training/patch_place.h"

#include <algorithm>

#include "base/extent.h"

namespace iwseg {
PatchSource source_of(const PatchPlace& place, const Extent& shape, const Extent& patch) {
    const Extent strides{shape[1] * shape[2], shape[2], 1};
    PatchSource source;
    source.voxels = shape[0] * strides[0];
    for (int a = 0; a < 3; ++a) {
        const int axis = place.axis[a];
        // The patch's voxels i show first + i of the scan, or last - i.
        const std::int64_t first = place.first[axis], last = first + patch[a] - 1;
        const bool back = place.reversed[a];
        const std::int64_t inside = back ? last - shape[axis] + 1 : -first, end = back ? last + 1 : shape[axis] - first;
        source.start += strides[axis] * (back ? last : first);
        source.strides[a] = back ? -strides[axis] : strides[axis];
        source.inside_first[a] = static_cast<std::int32_t>(std::clamp<std::int64_t>(inside, 0, patch[a]));
        source.inside_end[a] =
            static_cast<std::int32_t>(std::clamp<std::int64_t>(end, source.inside_first[a], patch[a]));
    }
    return source;
}

}  // namespace iwseg
