#include "kernels/convolution/amx/tile_gradient.h"

#include <algorithm>
#include <limits>

#include "kernels/convolution/amx/work_slots.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kBlock = 16, kSumsOfTile = 256;
/// Blocks of an item: what is filled is used so many times.
constexpr std::int64_t kMostSrcBlocks = 4, kMostDiffBlocks = 2;
constexpr std::int64_t kMostChunks = 32, kMostSumsBytes = 4 << 20;
/// Of the second cache, 2 MB on processors with AMX.
constexpr std::int64_t kMostSlabBytes = 768 << 10;
/// Of the first one, 48 KB there: what of diff is multiplied with one tap after the other.
constexpr std::int64_t kDiffBytes = 24 << 10;

std::int64_t divided_up(std::int64_t count, std::int64_t size) {
    return (count + size - 1) / size;
}

std::int64_t chunks_of(const ConvolutionGeometry& g) {
    const std::int64_t tiles = divided_up(g.src.c, kBlock) * divided_up(g.dst_channels, kBlock) * g.taps();
    return std::clamp<std::int64_t>(kMostSumsBytes / (tiles * kTileBytes), 1,
                                    std::min(kMostChunks, g.src.n * g.dst().d));
}

/// The slab that costs least, as in a pass that writes tensors; by the shape alone.
GradientSlab best_gradient_slab(const ConvolutionGeometry& g) {
    const PassAxis d = forward_axis(g.src.d, g.dst().d, g.kernel.d, g.stride.d, g.padding().d);
    const PassAxis h = forward_axis(g.src.h, g.dst().h, g.kernel.h, g.stride.h, g.padding().h);
    const PassAxis w = forward_axis(g.src.w, g.dst().w, g.kernel.w, g.stride.w, g.padding().w);
    const std::int64_t src = std::min(kMostSrcBlocks, divided_up(g.src.c, kBlock));
    const std::int64_t diff = std::min(kMostDiffBlocks, divided_up(g.dst_channels, kBlock));
    const std::int64_t most = std::min(d.written, divided_up(g.src.n * d.written, chunks_of(g)));
    GradientSlab best(d, h, w, src, diff, 1, 1);
    double least = std::numeric_limits<double>::max();
    for (std::int64_t planes = 1; planes <= most; ++planes)
        for (std::int64_t of_h = 1; of_h <= h.written; ++of_h) {
            const std::int64_t rows = divided_up(h.written, of_h);
            const GradientSlab slab(d, h, w, src, diff, planes, rows);
            if (slab.bytes() > kMostSlabBytes && planes * rows > 1) continue;
            const auto results = static_cast<double>(planes * rows * w.written);
            // Cycles a voxel, estimated: 3 to interleave a pair of voxels, 6 to transpose one, 16 for a product of 32.
            const double filled = 3.0 * static_cast<double>(slab.src_bytes()) / 64 / results;
            const auto tiles = static_cast<double>(slab.tiles(rows) * planes);
            const double products = 16.0 * tiles * static_cast<double>(g.taps() * src * diff) / results;
            const double cost = filled + 6.0 * tiles * 32 * static_cast<double>(diff) / results + products;
            if (cost < least) least = cost, best = slab;
        }
    return best;
}

IWSEG_VECTOR_CLONES void add_tile(const float* sums, double* totals) {
    for (std::int64_t i = 0; i < kSumsOfTile; ++i) totals[i] += sums[i];
}

}  // namespace

TileGradient::TileGradient(const ConvolutionGeometry& g)
    : geometry_(g),
      src_blocks_(divided_up(g.src.c, kBlock)),
      diff_blocks_(divided_up(g.dst_channels, kBlock)),
      planes_(g.src.n * g.dst().d),
      chunks_(chunks_of(g)),
      slab_(best_gradient_slab(g)) {}

std::int64_t TileGradient::item_elements() const {
    return slab_.src_blocks * slab_.diff_blocks * geometry_.taps() * kSumsOfTile;
}

std::int64_t TileGradient::sums_bytes() const {
    return chunks_ * groups_of_diff() * groups_of_src() * item_elements() * static_cast<std::int64_t>(sizeof(float));
}

TileGradient::Item TileGradient::item(std::int64_t number) const {
    const std::int64_t src = number % groups_of_src() * slab_.src_blocks;
    const std::int64_t diff = number / groups_of_src() % groups_of_diff() * slab_.diff_blocks;
    return {{src, std::min(slab_.src_blocks, src_blocks_ - src)},
            {diff, std::min(slab_.diff_blocks, diff_blocks_ - diff)},
            number / groups_of_src() / groups_of_diff()};
}

void TileGradient::run(Stream stream, const TileProducts& products, const Operands& operands) const {
    auto* const sums = reinterpret_cast<float*>(operands.sums);
    over_slots(stream, operands.slots, chunks_ * groups_of_diff() * groups_of_src(), [&](auto slot, auto&& take) {
        const TilesInUse tiles(products);
        char* const slab = operands.slabs + slot * slab_bytes();
        for (std::int64_t next = take(); next >= 0; next = take())
            run_item(products, operands, item(next), slab, sums + next * item_elements());
    });
    parallel_for(stream, diff_blocks_ * src_blocks_,
                 [&](std::int64_t pair) { add_up(operands, pair / src_blocks_, pair % src_blocks_); });
}

void TileGradient::run_item(const TileProducts& products, const Operands& operands, const Item& item, char* slab,
                            float* sums) const {
    std::fill_n(sums, item_elements(), 0.0f);
    const std::int64_t depth = slab_.d.written, height = slab_.h.written;
    const std::int64_t last = (item.chunk + 1) * planes_ / chunks_;
    for (std::int64_t p = item.chunk * planes_ / chunks_; p < last;) {
        const std::int64_t sample = p / depth, z = p % depth;
        const SlabRange planes{z, std::min({slab_.most_planes, last - p, depth - z})};
        for (std::int64_t y = 0; y < height; y += slab_.most_rows) {
            const SlabRange rows{y, std::min(slab_.most_rows, height - y)};
            slab_.fill_src(operands.src, sample, item.src, planes, rows, slab);
            slab_.fill_diff(operands.diff_dst, sample, item.diff, planes, rows, slab);
            for (std::int64_t i = 0; i < planes.count; ++i)
                add_plane(products, item, i, z + i, slab_.tiles(rows.count), slab, sums);
        }
        p += planes.count;
    }
}

/// What a plane of diff, of some rows, adds to sums (blocks of diff, blocks of src, taps, 16, 16). Columns are taps and
/// blocks of src, all that read planes within the volume in one list: few sums at a time wait for each other.
void TileGradient::add_plane(const TileProducts& products, const Item& item, std::int64_t plane, std::int64_t z,
                             std::int64_t tiles, const char* slab, float* sums) const {
    const Sides& kernel = geometry_.kernel;
    const int rows = static_cast<int>(item.diff.count), most = rows == 1 ? 4 : 2;
    const std::int64_t taps = kernel.product(), taps_of_plane = kernel.h * kernel.w;
    const std::int64_t first_plane = z * slab_.d.in_step + slab_.d.lowest();
    const std::int64_t begin = std::clamp<std::int64_t>(-first_plane, 0, kernel.d) * taps_of_plane;
    const std::int64_t end = std::clamp<std::int64_t>(slab_.d.read - first_plane, 0, kernel.d) * taps_of_plane;
    if (begin >= end) return;
    const std::int64_t columns = item.src.count * (end - begin), together = kDiffBytes / kTileBytes / rows;
    const char* const src = slab_.src(slab) + plane * slab_.d.in_step * slab_.src_plane_bytes;
    const char* const diff = slab_.diff(slab) + plane * slab_.diff_plane_bytes;
    for (std::int64_t at = 0; at < tiles; at += together)
        for (std::int64_t c = 0; c < columns; c += most) {
            const int count = static_cast<int>(std::min<std::int64_t>(most, columns - c));
            const char* of_src[4];
            float* of_sums[4];
            for (int k = 0; k < count; ++k) {
                const std::int64_t block = (c + k) / (end - begin);
                const int tap = static_cast<int>(begin + (c + k) % (end - begin));
                of_src[k] = src + at * kTileBytes +
                            slab_.place(block, tap / kernel.w / kernel.h, tap / kernel.w % kernel.h, tap % kernel.w);
                for (int r = 0; r < rows; ++r)
                    of_sums[r * count + k] = sums + ((r * slab_.src_blocks + block) * taps + tap) * kSumsOfTile;
            }
            products.gradients[rows - 1][count - 1](
                {diff + at * kTileBytes, slab_.diff_block_bytes, of_src, std::min(together, tiles - at), of_sums});
        }
}

/// The weights that join two blocks, over all chunks.
void TileGradient::add_up(const Operands& operands, std::int64_t diff_block, std::int64_t src_block) const {
    const std::int64_t taps = geometry_.taps(), step = groups_of_diff() * groups_of_src() * item_elements();
    const std::int64_t item = diff_block / slab_.diff_blocks * groups_of_src() + src_block / slab_.src_blocks;
    const std::int64_t pair = diff_block % slab_.diff_blocks * slab_.src_blocks + src_block % slab_.src_blocks;
    const float* first =
        reinterpret_cast<const float*>(operands.sums) + item * item_elements() + pair * taps * kSumsOfTile;
    const std::int64_t outputs = std::min(kBlock, geometry_.dst_channels - diff_block * kBlock);
    const std::int64_t inputs = std::min(kBlock, geometry_.src.c - src_block * kBlock);
    for (std::int64_t tap = 0; tap < taps; ++tap) {
        double totals[kSumsOfTile] = {};
        for (std::int64_t chunk = 0; chunk < chunks_; ++chunk)
            add_tile(first + tap * kSumsOfTile + chunk * step, totals);
        for (std::int64_t o = 0; o < outputs; ++o)
            for (std::int64_t i = 0; i < inputs; ++i) {
                const std::int64_t place =
                    ((diff_block * kBlock + o) * geometry_.src.c + src_block * kBlock + i) * taps + tap;
                operands.diff_weights[place] = static_cast<float>(totals[o * kBlock + i]);
            }
    }
}

}  // namespace iwseg::cpu
