#include "kernels/convolution/amx/tile_pass.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/convolution/amx/result_rows.h"
#include "kernels/convolution/amx/work_slots.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kBlock = 16, kTileVoxels = 16;
/// Of the second cache, 2 MB on processors with AMX, which also holds weights and what is written.
constexpr std::int64_t kSlabBytes = 512 << 10;
/// So many items that threads end at about one time.
constexpr std::int64_t kEnoughItems = 32;
/// Of the processor, for a voxel of a group copied to a slab. This and the number before are estimated.
constexpr double kFillCycles = 4;

std::int64_t parts(std::int64_t count, std::int64_t size) {
    return (count + size - 1) / size;
}

/// The part of a range that a class has.
SlabRange within(const SlabRange& range, std::int64_t count) {
    return {range.first, std::clamp<std::int64_t>(count - range.first, 0, range.count)};
}

/// Range number `part` of those of `size` that make up `count`.
SlabRange range_of(std::int64_t part, std::int64_t size, std::int64_t count) {
    return within({part * size, size}, count);
}

/// Cycles that a term takes of so many tiles of voxels and blocks of outputs: each sum waits 52 for its last product.
double cycles_of(std::int64_t tiles, std::int64_t blocks) {
    const std::int64_t by = std::min<std::int64_t>(blocks, 2), most = by == 1 ? 4 : 2;
    const auto group = [&](std::int64_t count) { return count == 0 ? 0 : std::max<std::int64_t>(16 * count * by, 52); };
    const std::int64_t cycles = (tiles / most * group(most) + group(tiles % most)) * parts(blocks, by);
    return static_cast<double>(cycles);
}

}  // namespace

TilePass::TilePass(const ConvolutionGeometry& g, bool data_gradient)
    : geometry_(g),
      data_gradient_(data_gradient),
      inputs_(data_gradient ? g.dst_channels : g.src.c),
      outputs_(data_gradient ? g.src.c : g.dst_channels),
      output_blocks_(parts(outputs_, kBlock)),
      slab_(best_slab()),
      blocks_of_item_(output_blocks_),
      classes_(classes_of(slab_, g.kernel.h, g.kernel.w, output_blocks_)) {
    // Where there are few places, outputs are divided too, by pairs of blocks; each part fills the slab for itself.
    if (const std::int64_t places = items(); places < kEnoughItems)
        blocks_of_item_ =
            2 * parts(parts(output_blocks_, 2), std::min(parts(kEnoughItems, places), parts(output_blocks_, 2)));
}

/// The slab that costs least: by what is filled twice, and by results that are thrown away.
Slab TilePass::best_slab() const {
    const ConvolutionGeometry& g = geometry_;
    const auto axis = data_gradient_ ? data_gradient_axis : forward_axis;
    const PassAxis d = axis(g.src.d, g.dst().d, g.kernel.d, g.stride.d, g.padding().d);
    const PassAxis h = axis(g.src.h, g.dst().h, g.kernel.h, g.stride.h, g.padding().h);
    const PassAxis w = axis(g.src.w, g.dst().w, g.kernel.w, g.stride.w, g.padding().w);
    const std::int64_t blocks = parts(inputs_, kBlock);
    const auto terms = static_cast<double>(g.kernel.product() * parts(blocks, 2));
    Slab best(d, h, w, blocks, 1, 1);
    double least = std::numeric_limits<double>::max();
    for (std::int64_t of_d = 1; of_d <= d.count(); ++of_d)
        for (std::int64_t of_h = 1; of_h <= h.count(); ++of_h) {
            const std::int64_t planes = parts(d.count(), of_d), rows = parts(h.count(), of_h);
            if (parts(d.count(), planes) != of_d || parts(h.count(), rows) != of_h) continue;
            const Slab slab(d, h, w, blocks, planes, rows);
            if (slab.bytes() > kSlabBytes && planes * rows > 1) continue;
            const auto results = static_cast<double>(planes * rows * w.count());
            const double filled = static_cast<double>(slab.groups * slab.group_bytes) / Slab::kVoxelBytes / results;
            const std::int64_t tiles = parts((rows - 1) * slab.columns + w.count(), kTileVoxels);
            const double products = terms * cycles_of(tiles, output_blocks_) * static_cast<double>(planes) / results;
            const double items = static_cast<double>(g.src.n * of_d * of_h);
            const double uneven = 1 + 0.05 * std::max(0.0, std::log2(static_cast<double>(kEnoughItems) / items));
            const double cost = (kFillCycles * filled + products) * uneven;
            if (cost < least) least = cost, best = slab;
        }
    return best;
}

std::int64_t TilePass::packed_bytes() const {
    const PassClass& last = classes_.back();
    return last.packed_at + output_blocks_ * last.block_bytes();
}

void TilePass::pack(Stream stream, const float* weights, char* packed) const {
    const std::int64_t taps = geometry_.taps(), of_dst = geometry_.src.c * taps;
    const PlainWeights plain{.weights = weights,
                             .outputs = outputs_,
                             .inputs = inputs_,
                             .taps = taps,
                             .of_output = data_gradient_ ? taps : of_dst,
                             .of_input = data_gradient_ ? of_dst : taps};
    parallel_for(stream, static_cast<std::int64_t>(classes_.size()) * output_blocks_, [&](std::int64_t i) {
        const PassClass& of = classes_[static_cast<std::size_t>(i / output_blocks_)];
        const std::int64_t block = i % output_blocks_;
        pack_tiles(of, plain, block, packed + of.packed_at + block * of.block_bytes());
    });
}

std::int64_t TilePass::items() const {
    return geometry_.src.n * parts(slab_.d.count(), slab_.most_planes) * parts(slab_.h.count(), slab_.most_rows) *
           parts(output_blocks_, blocks_of_item_);
}

TilePass::Item TilePass::item(std::int64_t number) const {
    const std::int64_t of_d = parts(slab_.d.count(), slab_.most_planes);
    const std::int64_t of_h = parts(slab_.h.count(), slab_.most_rows),
                       of_blocks = parts(output_blocks_, blocks_of_item_);
    return {number / of_blocks / of_h / of_d,
            range_of(number / of_blocks / of_h % of_d, slab_.most_planes, slab_.d.count()),
            range_of(number / of_blocks % of_h, slab_.most_rows, slab_.h.count()),
            range_of(number % of_blocks, blocks_of_item_, output_blocks_)};
}

/// Those terms of a class whose planes lie within the volume.
SlabRange TilePass::terms_at(const PassClass& of, std::int64_t plane) const {
    const std::int64_t first = plane * slab_.d.in_step + of.d.offset;
    const std::int64_t begin = std::clamp<std::int64_t>(-first, 0, of.d.taps);
    const std::int64_t end = std::clamp<std::int64_t>(slab_.d.read - first, begin, of.d.taps);
    return {begin * of.terms_of_plane(), (end - begin) * of.terms_of_plane()};
}

void TilePass::run(Stream stream, const TileProducts& products, const Operands& operands) const {
    over_slots(stream, operands.slots, items(), [&](std::int64_t slot, auto&& take) {
        const TilesInUse tiles(products);
        char* const slab = operands.slabs + slot * slab_bytes();
        for (std::int64_t next = take(); next >= 0; next = take()) run_item(products, operands, item(next), slab);
    });
}

void TilePass::run_item(const TileProducts& products, const Operands& operands, const Item& item, char* slab) const {
    slab_.fill(operands.read, item.sample, item.planes, item.rows, slab);
    const std::int64_t end = item.blocks.first + item.blocks.count;
    for (std::int64_t block = item.blocks.first; block < end; block += 2)
        for (const PassClass& of : classes_)
            run_class(products, operands, item, of, {block, std::min<std::int64_t>(2, end - block)}, slab);
}

void TilePass::run_class(const TileProducts& products, const Operands& operands, const Item& item, const PassClass& of,
                         SlabRange blocks, const char* slab) const {
    const SlabRange planes = within(item.planes, of.d.count), rows = within(item.rows, of.h.count);
    if (rows.count <= 0 || of.w.count <= 0) return;
    const Shape& shape = operands.written.shape;
    const int count = static_cast<int>(blocks.count), most = count == 1 ? 4 : 2;
    float bias[2][kBlock] = {};
    for (std::int64_t b = 0; operands.bias && b < count * kBlock && blocks.first * kBlock + b < outputs_; ++b)
        bias[b / kBlock][b % kBlock] = operands.bias[blocks.first * kBlock + b];
    const std::int64_t results = (rows.count - 1) * slab_.columns + of.w.count;
    ResultRows out{.columns = slab_.columns,
                   .width = of.w.count,
                   .row_step = slab_.h.out_step * shape.w * kBlock,
                   .voxel_step = slab_.w.out_step * kBlock,
                   .bias = nullptr,
                   .channels = kBlock,
                   .accumulate = operands.accumulate};
    BlockEpilogue<kBlock> epilogue[2];
    for (int b = 0; operands.form.wanted && b < count; ++b)
        epilogue[b] = {operands.form, operands.epilogue, operands.bias, blocks.first + b, outputs_};
    alignas(kTileRow) float sums[4 * kTileVoxels * kBlock];
    for (std::int64_t z = planes.first; z < planes.first + planes.count; ++z) {
        const SlabRange terms = terms_at(of, z);
        TermSums work{.voxels = nullptr,
                      .weights = operands.packed + of.packed_at + blocks.first * of.block_bytes(),
                      .terms = of.terms.data() + terms.first,
                      .count = terms.count,
                      .voxel_stride = slab_.step_w(),
                      .next_block = of.block_bytes(),
                      .sums = sums};
        const char* plane = slab + (z - item.planes.first) * slab_.step_d();
        const std::int64_t to_z = z * slab_.d.out_step + of.d.first;
        const std::int64_t to_y = rows.first * slab_.h.out_step + of.h.first;
        for (std::int64_t at = 0; at < results;) {
            const std::int64_t tiles = std::min<std::int64_t>(most, parts(results - at, kTileVoxels));
            const std::int64_t next = at + tiles * kTileVoxels;
            work.voxels = plane + at * slab_.step_w();
            products.terms[count - 1][tiles - 1](work);
            for (int b = 0; b < count; ++b) {
                const std::int64_t volume = item.sample * output_blocks_ + blocks.first + b;
                const std::int64_t place = ((volume * shape.d + to_z) * shape.h + to_y) * shape.w + of.w.first;
                out.bias = bias[b];
                if (operands.form.wanted) out.epilogue = &epilogue[b];
                const Type type = operands.written.type;
                const std::int64_t bytes = place * kBlock * bytes_of(type);
                out.channels = std::min(kBlock, outputs_ - (blocks.first + b) * kBlock);
                write_rows(out, at, std::min(next, results), sums + b * tiles * kTileVoxels * kBlock, type,
                           operands.written.as<char>() + bytes,
                           operands.form.beside ? operands.epilogue.beside.as<char>() + bytes : nullptr);
            }
            at = next;
        }
    }
}

}  // namespace iwseg::cpu
