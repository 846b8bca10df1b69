#include "kernels/patch/cut_patch.h"

#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {
namespace {

/// Calls write(v, value) for the voxels v of a patch, in order, where `from` is the scan's volume.
template <class T, class Write>
void cut_volume(const PatchSource& source, const T* from, T padding, const Shape& patch, Write&& write) {
    const std::array<std::int32_t, 3>&first = source.inside_first, &end = source.inside_end;
    std::int64_t v = 0;
    for (std::int64_t d = 0; d < patch.d; ++d)
        for (std::int64_t h = 0; h < patch.h; ++h) {
            const bool inside = d >= first[0] && d < end[0] && h >= first[1] && h < end[1];
            const T* row = from + source.start + d * source.strides[0] + h * source.strides[1];
            const std::int64_t low = inside ? first[2] : patch.w, high = inside ? end[2] : patch.w;
            std::int64_t w = 0;
            for (; w < low; ++w) write(v++, padding);
            for (; w < high; ++w) write(v++, row[w * source.strides[2]]);
            for (; w < patch.w; ++w) write(v++, padding);
        }
}

}  // namespace

void cut_patches(Stream stream, const PatchSource* sources, View image, std::uint8_t* target, std::int32_t* labels) {
    require_patches(image);
    const Shape& s = image.shape;
    const std::int64_t volumes = s.c + (target || labels ? 1 : 0);
    parallel_for(stream, s.n * volumes, [&](std::int64_t i) {
        const std::int64_t n = i / volumes, c = i % volumes;
        const PatchSource& source = sources[n];
        if (c < s.c) {
            float* to = image.as<float>() + (n * s.c + c) * s.voxels();
            cut_volume(source, source.image + c * source.voxels, source.padding[c], s,
                       [to](std::int64_t v, float value) { to[v] = value; });
            return;
        }
        const std::int64_t at = n * s.voxels();
        cut_volume(source, source.labels, 0, s, [=](std::int64_t v, std::int32_t label) {
            if (target) target[at + v] = target_of_label(label);
            if (labels) labels[at + v] = label;
        });
    });
}

}  // namespace iwseg::cpu
