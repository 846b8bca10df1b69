#include "kernels/convolution/amx/gradient_slab.h"

#include <cstring>

#include "kernels/convolution/amx/tile_products.h"
#include "kernels/convolution/amx/voxel_tiles.h"
#include "kernels/device/dispatch.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kChannels = 16, kVoxelBytes = 32, kPairBytes = 64;
/// A tile of 32 voxels may begin at the last one.
constexpr std::int64_t kPairsBeyond = 17;

std::int64_t even(std::int64_t count) {
    return (count + 1) / 2 * 2;
}

template <class T>
const T* row_of(const View& view, std::int64_t sample, std::int64_t block, std::int64_t z, std::int64_t y) {
    const std::int64_t blocks = padded_channels(view.layout, view.shape.c) / kChannels;
    return view.as<const T>() +
           (((sample * blocks + block) * view.shape.d + z) * view.shape.h + y) * view.shape.w * kChannels;
}

}  // namespace

GradientSlab::GradientSlab(const PassAxis& of_d, const PassAxis& of_h, const PassAxis& of_w, std::int64_t of_src,
                           std::int64_t of_diff, std::int64_t planes, std::int64_t rows)
    : d(of_d),
      h(of_h),
      w(of_w),
      src_blocks(of_src),
      diff_blocks(of_diff),
      most_planes(planes),
      most_rows(rows),
      columns(even(w.written + w.span() / w.in_step)),
      rows_of_phase(rows + h.span() / h.in_step),
      phases_h(std::min(h.in_step, h.span() + 1)),
      phases_w(std::min(w.in_step, w.span() + 1)),
      parities(w.span() >= w.in_step ? 2 : 1),
      array_bytes((rows_of_phase * columns / 2 + kPairsBeyond) * kPairBytes),
      src_plane_bytes(phases_h * phases_w * parities * array_bytes),
      src_block_bytes(((planes - 1) * d.in_step + 1 + d.span()) * src_plane_bytes),
      diff_plane_bytes(tiles(rows) * kTileBytes),
      diff_block_bytes(planes * diff_plane_bytes) {}

std::int64_t GradientSlab::row_bytes() const {
    return std::max((columns + 2) * kVoxelBytes, tiles(most_rows) * kTileBytes);
}

std::int64_t GradientSlab::place(std::int64_t block, int tap_d, int tap_h, int tap_w) const {
    const std::int64_t shift = tap_w / w.in_step, parity = shift % 2;
    const std::int64_t array = (tap_h % h.in_step * phases_w + tap_w % w.in_step) * parities + parity;
    return block * src_block_bytes + tap_d * src_plane_bytes + array * array_bytes +
           (tap_h / h.in_step * columns + shift - parity) / 2 * kPairBytes;
}

void GradientSlab::fill_src(const View& view, std::int64_t sample, SlabRange blocks, SlabRange planes, SlabRange rows,
                            char* slab) const {
    auto* const gathered = reinterpret_cast<Bf16*>(slab + src_bytes() + diff_bytes());
    const std::int64_t plane_count = (planes.count - 1) * d.in_step + 1 + d.span();
    const std::int64_t filled_rows = rows.count + h.span() / h.in_step, row_pairs = columns / 2;
    with_real(view.type, [&](auto real) {
        using T = decltype(real);
        for (std::int64_t b = 0; b < blocks.count; ++b)
            for (std::int64_t p = 0; p < plane_count; ++p) {
                const std::int64_t z = planes.first * d.in_step + d.lowest() + p;
                if (z < 0 || z >= d.read || p % d.in_step > d.span()) continue;
                for (std::int64_t phase = 0; phase < phases_h * phases_w; ++phase) {
                    char* arrays = slab + b * src_block_bytes + p * src_plane_bytes + phase * parities * array_bytes;
                    for (std::int64_t r = 0; r < filled_rows; ++r) {
                        const std::int64_t y = (rows.first + r) * h.in_step + phase / phases_w + h.lowest();
                        const bool inside = y >= 0 && y < h.read;
                        const T* row = inside ? row_of<T>(view, sample, blocks.first + b, z, y) : nullptr;
                        gather_voxels(row, w.read, w.lowest() + phase % phases_w, w.in_step, columns, gathered);
                        std::memset(gathered + columns * kChannels, 0, 2 * kVoxelBytes);
                        for (std::int64_t parity = 0; parity < parities; ++parity)
                            interleave_voxels(
                                gathered + parity * kChannels, row_pairs,
                                reinterpret_cast<Bf16*>(arrays + parity * array_bytes + r * row_pairs * kPairBytes));
                    }
                    for (std::int64_t parity = 0; parity < parities; ++parity)
                        std::memset(arrays + parity * array_bytes + filled_rows * row_pairs * kPairBytes, 0,
                                    kPairsBeyond * kPairBytes);
                }
            }
    });
}

void GradientSlab::fill_diff(const View& view, std::int64_t sample, SlabRange blocks, SlabRange planes, SlabRange rows,
                             char* slab) const {
    auto* const gathered = reinterpret_cast<Bf16*>(slab + src_bytes() + diff_bytes());
    const std::int64_t voxels = tiles(rows.count) * 32;
    with_real(view.type, [&](auto real) {
        using T = decltype(real);
        for (std::int64_t b = 0; b < blocks.count; ++b)
            for (std::int64_t p = 0; p < planes.count; ++p) {
                for (std::int64_t r = 0, at = 0; at < voxels; ++r, at += columns) {
                    const bool inside = r < rows.count;
                    const T* row =
                        inside ? row_of<T>(view, sample, blocks.first + b, planes.first + p, rows.first + r) : nullptr;
                    gather_voxels(row, w.written, 0, 1, std::min(columns, voxels - at), gathered + at * kChannels);
                }
                transpose_voxels(
                    gathered, voxels,
                    reinterpret_cast<Bf16*>(slab + src_bytes() + b * diff_block_bytes + p * diff_plane_bytes));
            }
    });
}

}  // namespace iwseg::cpu
