#include "kernels/convolution/amx/slab.h"

#include <cstring>

#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"
#include "kernels/device/dispatch.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kBlock = 16;

/// What the two halves of a row's voxels are copied from: rows of blocks, or null, and how many voxels further on the
/// second begins.
template <class T>
struct Halves {
    const T *first, *second;
    std::int64_t shift;
};

template <class T>
[[gnu::always_inline]] inline void copy_half(const T* from, char* to) {
    if constexpr (sizeof(T) == 2) {
        std::memcpy(to, from, kBlock * 2);
    } else {
        Bf16 rounded[kBlock];
        for (int c = 0; c < kBlock; ++c) store(rounded[c], from[c]);
        std::memcpy(to, rounded, kBlock * 2);
    }
}

/// A voxel at an end of the row, or of a row with a half that is not there.
template <class T>
void fill_voxel(const Halves<T>& from, std::int64_t width, std::int64_t x, char* to) {
    const auto half = [&](const T* row, std::int64_t at, char* place) {
        if (row && at >= 0 && at < width)
            copy_half(row + at * kBlock, place);
        else
            std::memset(place, 0, kBlock * 2);
    };
    half(from.first, x, to);
    half(from.second, x + from.shift, to + kBlock * 2);
}

/// Voxels first, first + 1, … of a row; zeros outside of it.
template <class T>
IWSEG_VECTOR_CLONES void fill_row(const Halves<T>& from, std::int64_t width, std::int64_t first, std::int64_t voxels,
                                  char* to) {
    const bool whole = from.first && from.second;
    const std::int64_t begin = whole ? std::min(std::max<std::int64_t>(-first, 0), voxels) : voxels;
    const std::int64_t end = std::max(std::min(width - from.shift - first, voxels), begin);
    for (std::int64_t v = 0; v < begin; ++v) fill_voxel(from, width, first + v, to + v * Slab::kVoxelBytes);
    for (std::int64_t v = begin; v < end; ++v) {
        copy_half(from.first + (first + v) * kBlock, to + v * Slab::kVoxelBytes);
        copy_half(from.second + (first + v + from.shift) * kBlock, to + v * Slab::kVoxelBytes + kBlock * 2);
    }
    for (std::int64_t v = end; v < voxels; ++v) fill_voxel(from, width, first + v, to + v * Slab::kVoxelBytes);
}

}  // namespace

bool reads_paired(const PassAxis& w, std::int64_t blocks) {
    if (blocks != 1) return false;
    for (const AxisClass& one : w.classes)
        if (one.taps == 1) return false;
    return true;
}

Slab::Slab(const PassAxis& of_d, const PassAxis& of_h, const PassAxis& of_w, std::int64_t blocks, std::int64_t planes,
           std::int64_t rows)
    : d(of_d),
      h(of_h),
      w(of_w),
      groups((blocks + 1) / 2),
      paired(reads_paired(of_w, blocks)),
      most_planes(planes),
      most_rows(rows),
      columns(w.count() + w.span() / w.in_step + (w.span() % w.in_step > 0)),
      rows_of_phase(rows + h.span() / h.in_step),
      row_bytes(columns * w.in_step * kVoxelBytes),
      plane_bytes(h.in_step * rows_of_phase * row_bytes),
      group_bytes(((planes - 1) * d.in_step + 1 + d.span()) * plane_bytes) {}

std::int64_t Slab::bytes() const {
    // A tile of 16 results reads beyond the last one.
    return groups * group_bytes + 16 * step_w();
}

std::int64_t Slab::place(std::int64_t group, int offset_d, int offset_h, int offset_w) const {
    const std::int64_t row = offset_h - h.lowest();
    return group * group_bytes + (offset_d - d.lowest()) * plane_bytes +
           (row % h.in_step * rows_of_phase + row / h.in_step) * row_bytes + (offset_w - w.lowest()) * kVoxelBytes;
}

void Slab::fill(const View& view, std::int64_t sample, SlabRange planes, SlabRange rows, char* slab) const {
    const std::int64_t blocks = padded_channels(view.layout, view.shape.c) / kBlock, voxels = columns * w.in_step;
    const std::int64_t plane_count = (planes.count - 1) * d.in_step + 1 + d.span();
    const std::int64_t row_count = (rows.count - 1) * h.in_step + 1 + h.span();
    with_real(view.type, [&](auto real) {
        using T = decltype(real);
        for (std::int64_t group = 0; group < groups; ++group)
            for (std::int64_t p = 0; p < plane_count; ++p) {
                const std::int64_t z = planes.first * d.in_step + d.lowest() + p;
                // Outside of the volume nothing is read; between the taps of results that are far apart neither.
                if (z < 0 || z >= d.read || p % d.in_step > d.span()) continue;
                for (std::int64_t r = 0; r < row_count; ++r) {
                    if (r % h.in_step > h.span()) continue;
                    const std::int64_t y = rows.first * h.in_step + h.lowest() + r;
                    const auto row_of = [&](std::int64_t block) -> const T* {
                        if (y < 0 || y >= h.read || block >= blocks) return nullptr;
                        return view.as<const T>() +
                               (((sample * blocks + block) * d.read + z) * h.read + y) * w.read * kBlock;
                    };
                    char* to = slab + group * group_bytes + p * plane_bytes +
                               (r % h.in_step * rows_of_phase + r / h.in_step) * row_bytes;
                    const Halves<T> from{row_of(2 * group), paired ? row_of(0) : row_of(2 * group + 1), paired ? 1 : 0};
                    if (from.first)
                        fill_row(from, w.read, w.lowest(), voxels, to);
                    else
                        std::memset(to, 0, static_cast<std::size_t>(row_bytes));
                }
            }
    });
}

}  // namespace iwseg::cpu
