#include "kernels/convolution/winograd/winograd_pass.h"

#include <algorithm>

#include "kernels/convolution/epilogue_block.h"
#include "kernels/convolution/winograd/worker_items.h"

namespace iwseg::cpu {
namespace {

/// So many items, and for each thread, that threads end at about one time. More cost more: a range of planes transforms
/// those beside it too, and each part of the outputs' blocks all of the source.
constexpr std::int64_t kEnoughItems = 32, kItemsOfThread = 4;
/// Blocks of outputs of an item, at least; the fewer only where there would be fewer items than threads.
constexpr std::int64_t kLeastBlocks = 4, kFewestBlocks = 2;
constexpr int kMostBlock = 16;
/// No more slabs than these, so that few planes are transformed twice; channels are made where there are at least so
/// few.
constexpr std::int64_t kMostSlabs = 16, kFewestSlabs = 4;

}  // namespace

/// Where a thread has an item's transformed planes, (slot, position, input block, tile, L), and sums, (position, output
/// block, plane, tile, L).
struct WinogradPass::Buffers {
    std::byte* planes;
    float* sums;
    std::int64_t slots, position;  ///< slots; elements from one position to the next
    std::int64_t slot_bytes;
    std::int64_t tiles;  ///< of a plane: elements
    std::int64_t sum_position;

    std::byte* plane(std::int64_t index) const { return planes + index % slots * slot_bytes; }
    float* sums_of(std::int64_t output_block, std::int64_t plane, std::int64_t step_planes) const {
        return sums + (output_block * step_planes + plane) * tiles;
    }
    std::int64_t bytes() const {
        return slots * slot_bytes + kWinogradPositions * sum_position * static_cast<std::int64_t>(sizeof(float));
    }
};

WinogradPass::WinogradPass(const ConvolutionGeometry& g, Type type, Type operands, std::int64_t block,
                           bool data_gradient, Vectors vectors, int threads, const WinogradSlabs& slabs)
    : geometry_(g),
      type_(type),
      operands_(operands),
      block_(block),
      data_gradient_(data_gradient),
      vectors_(vectors),
      transforms_(winograd_transforms(vectors, block, type, operands)),
      inputs_(data_gradient ? g.dst_channels : g.src.c),
      outputs_(data_gradient ? g.src.c : g.dst_channels),
      input_blocks_(parts_of(inputs_, block)),
      output_blocks_(parts_of(outputs_, block)),
      regions_(g.src) {
    const std::int64_t regions = regions_.count(), wanted = std::max(kEnoughItems, kItemsOfThread * threads);
    plane_ranges_ = std::min(parts_of(regions_.planes(), regions_.step_planes), parts_of(wanted, regions));
    const std::int64_t ranges = regions * plane_ranges_;
    const bool few = ranges * parts_of(output_blocks_, kLeastBlocks) < threads;
    output_parts_ = std::min(parts_of(output_blocks_, few ? kFewestBlocks : kLeastBlocks), parts_of(wanted, ranges));
    workers_ = std::min<std::int64_t>(threads, items());
    choose_slabs(slabs);
}

void WinogradPass::choose_slabs(const WinogradSlabs& slabs) {
    const std::int64_t planes = regions_.planes(), around = geometry_.kernel.d / 2;
    in_place_ = slabs.in_place;
    slab_planes_ = parts_of(planes, kMostSlabs);
    const MadeChannels& made = slabs.made;
    if (made.channels == 0 || made.channels >= inputs_ || made.channels % block_ != 0 || planes % made.step != 0)
        return;
    // What is made of two slabs must hold all planes that results read.
    std::int64_t count = parts_of(std::max(slab_planes_, 2 * around), made.step) * made.step;
    while (count < planes && planes % count != 0) count += made.step;
    if (count * kFewestSlabs > planes) return;
    made_blocks_ = made.channels / block_;
    slab_planes_ = count;
    lag_ = around;
}

/// Of what lies beside the tensors.
std::int64_t WinogradPass::slab_bytes() const {
    const std::int64_t kept_blocks = geometry_.kernel.d > 1 ? input_blocks_ - made_blocks_ : 0;
    const std::int64_t of_place = (slab_planes_ + lag_) * output_blocks_ + kept_blocks;
    return ((in_place_ ? of_place : 0) + 2 * made_blocks_ * slab_planes_) * plane_bytes();
}

WinogradPass::Slab WinogradPass::slab_in(std::byte* memory, bool over) const {
    Slab slab;
    for (std::byte*& made : slab.made) made = memory, memory += made_blocks_ * slab_planes_ * plane_bytes();
    if (!over) return slab;
    slab.results = memory;
    if (geometry_.kernel.d > 1) slab.before = memory + (slab_planes_ + lag_) * output_blocks_ * plane_bytes();
    return slab;
}

WinogradPass::Item WinogradPass::item(std::int64_t index) const {
    const std::int64_t regions = regions_.count(), planes = regions_.planes();
    const std::int64_t range = index / regions % plane_ranges_, part = index / regions / plane_ranges_;
    // Pairs of blocks are not divided, whose weights lie together.
    const std::int64_t pairs = parts_of(output_blocks_, 2);
    return {.tiles = regions_.tiles(index % regions),
            .first_plane = range * planes / plane_ranges_,
            .last_plane = (range + 1) * planes / plane_ranges_,
            .first_block = 2 * (part * pairs / output_parts_),
            .last_block = std::min(2 * ((part + 1) * pairs / output_parts_), output_blocks_)};
}

/// Elements of packed weights from one position to the next.
std::int64_t WinogradPass::weights_position() const {
    return vectors_of_position(geometry_.kernel.d * input_blocks_ * output_blocks_ * block_) * block_;
}

std::int64_t WinogradPass::worker_bytes() const {
    Item largest{.tiles = regions_.tiles(0), .first_plane = 0, .last_plane = 0, .first_block = 0, .last_block = 0};
    largest.last_block = 2 * parts_of(parts_of(output_blocks_, 2), output_parts_);
    return buffers_of(largest, nullptr).bytes();
}

std::int64_t WinogradPass::scratch_bytes() const {
    return packed_bytes() + workers_ * worker_bytes() + slab_bytes();
}

/// To (position, pair of output blocks, depth, input, output of the pair), inputs in pairs where operands are bf16.
void WinogradPass::pack(Stream stream, const float* weights, void* scratch) const {
    const std::int64_t taps = geometry_.taps(), depths = geometry_.kernel.d;
    constexpr std::int64_t kArea = 9;
    const std::int64_t of_output = data_gradient_ ? taps : geometry_.src.c * taps;
    const std::int64_t of_input = data_gradient_ ? geometry_.src.c * taps : taps;
    const std::int64_t all_inputs = input_blocks_ * block_, step = operands_ == Type::bf16 ? 2 : 1;
    parallel_for(stream, output_blocks_ * all_inputs / step, [&](std::int64_t i) {
        const std::int64_t block = i * step / all_inputs, first = i * step % all_inputs;
        const std::int64_t outputs = std::min(block_, outputs_ - block * block_), pair = block / 2 * 2;
        float plain[2][3 * kArea * kMostBlock] = {};
        for (std::int64_t input = first; input < std::min(first + step, inputs_); ++input)
            for (std::int64_t o = 0; o < outputs; ++o) {
                const float* const from = weights + (block * block_ + o) * of_output + input * of_input;
                for (std::int64_t tap = 0; tap < taps; ++tap)
                    plain[input - first][(data_gradient_ ? taps - 1 - tap : tap) * block_ + o] = from[tap];
            }
        const std::int64_t wide = together(pair) * block_;
        const std::int64_t to = pair * block_ * depths * all_inputs + first * wide + (block - pair) * block_ * step;
        for (std::int64_t d = 0; d < depths; ++d)
            transforms_.weights(plain[0] + d * kArea * block_, plain[1] + d * kArea * block_,
                                static_cast<std::byte*>(scratch) + (to + d * all_inputs * wide) * bytes_of(operands_),
                                weights_position());
    });
}

WinogradPass::Buffers WinogradPass::buffers_of(const Item& item, std::byte* memory) const {
    Buffers buffers{};
    buffers.tiles = item.tiles.count() * block_;
    buffers.slots = regions_.step_planes + geometry_.kernel.d - 1;
    buffers.position = vectors_of_position(input_blocks_ * item.tiles.count()) * block_;
    buffers.slot_bytes = kWinogradPositions * buffers.position * bytes_of(operands_);
    buffers.sum_position =
        vectors_of_position((item.last_block - item.first_block) * regions_.step_planes * item.tiles.count()) * block_;
    buffers.planes = memory;
    buffers.sums = reinterpret_cast<float*>(memory + buffers.slots * buffers.slot_bytes);
    return buffers;
}

void WinogradPass::transform_plane(const Operands& operands, const Item& item, const Buffers& buffers,
                                   std::int64_t plane) const {
    std::byte* const to = buffers.plane(plane);
    for (std::int64_t block = 0; block < input_blocks_; ++block)
        transforms_.source(source_plane(operands, plane, block), item.tiles,
                           to + block * buffers.tiles * bytes_of(operands_), buffers.position);
}

const std::byte* WinogradPass::source_plane(const Operands& operands, std::int64_t plane, std::int64_t block) const {
    const Slab& slab = operands.slab;
    if (block < made_blocks_)
        return slab.made[plane / slab_planes_ % 2] + (block * slab_planes_ + plane % slab_planes_) * plane_bytes();
    const std::int64_t own = block - made_blocks_;
    if (slab.before && plane < slab.first) return slab.before + own * plane_bytes();
    return operands.read + bytes_to(plane, own, input_blocks_ - made_blocks_);
}

std::byte* WinogradPass::result_plane(const Operands& operands, std::byte* result, std::int64_t plane,
                                      std::int64_t block) const {
    if (const Slab& slab = operands.slab; result == operands.read)
        return slab.results + (block * (slab_planes_ + lag_) + plane - slab.first) * plane_bytes();
    return result ? result + bytes_to(plane, block, output_blocks_) : nullptr;
}

WinogradProduct WinogradPass::product(int output_blocks, int tiles) const {
    return operands_ == Type::bf16 ? winograd_pair_product(output_blocks, tiles)
                                   : winograd_product(vectors_, block_, output_blocks, tiles);
}

/// All sums of planes from a first to before a last.
void WinogradPass::multiply(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t first,
                            std::int64_t last) const {
    const std::int64_t depths = geometry_.kernel.d, all_inputs = input_blocks_ * block_, tiles = item.tiles.count();
    const std::int64_t size = bytes_of(operands_);
    for (std::int64_t position = 0; position < kWinogradPositions; ++position)
        for (std::int64_t block = item.first_block; block < item.last_block; block += 2) {
            const int blocks = together(block);
            const std::byte* const weights =
                operands.packed + (position * weights_position() + block * block_ * depths * all_inputs) * size;
            const std::int64_t groups = parts_of(tiles, most_winograd_tiles(vectors_, blocks));
            for (std::int64_t plane = first; plane < last; ++plane) {
                WinogradProductInput input{};
                input.blocks = input_blocks_;
                input.src_block = buffers.tiles;
                const std::byte* src[kWinogradDepths];
                for (std::int64_t d = 0; d < depths; ++d) {
                    const std::int64_t z = plane % geometry_.src.d + d - depths / 2;
                    if (z < 0 || z >= geometry_.src.d) continue;
                    src[input.depths] = buffers.plane(plane + d - depths / 2) + position * buffers.position * size;
                    input.weights[input.depths++] = weights + d * all_inputs * blocks * block_ * size;
                }
                float* const sums = buffers.sums_of(block - item.first_block, plane - first, regions_.step_planes) +
                                    position * buffers.sum_position;
                for (std::int64_t g = 0; g < groups; ++g) {
                    const std::int64_t tile = g * tiles / groups, count = (g + 1) * tiles / groups - tile;
                    for (int d = 0; d < input.depths; ++d) input.src[d] = src[d] + tile * block_ * size;
                    product(blocks, static_cast<int>(count))(input, sums + tile * block_,
                                                             regions_.step_planes * buffers.tiles);
                }
            }
        }
}

void WinogradPass::finish(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t first,
                          std::int64_t last) const {
    for (std::int64_t block = item.first_block; block < item.last_block; ++block) {
        float bias[kMostBlock] = {}, scale[kMostBlock] = {}, shift[kMostBlock] = {};
        std::int32_t kept[kMostBlock] = {};
        for (std::int64_t o = 0; o < std::min(block_, outputs_ - block * block_); ++o) {
            if (operands.bias) bias[o] = operands.bias[block * block_ + o];
            kept[o] = -1;
            const ChannelAffine affine(operands.form, operands.epilogue, block * block_ + o);
            scale[o] = affine.scale, shift[o] = affine.shift;
        }
        WinogradFinish finish{bias, kept, operands.accumulate};
        if (operands.form.wanted) {
            finish.scale = scale, finish.shift = shift;
            finish.slope = operands.form.activation.slope;
        }
        for (std::int64_t plane = first; plane < last; ++plane) {
            finish.beside = result_plane(operands, operands.beside, plane, block);
            transforms_.result(buffers.sums_of(block - item.first_block, plane - first, regions_.step_planes),
                               buffers.sum_position, item.tiles, finish,
                               result_plane(operands, operands.written, plane, block));
        }
    }
}

void WinogradPass::run_item(const Operands& operands, const Item& item, std::byte* memory) const {
    const Buffers buffers = buffers_of(item, memory);
    const std::int64_t around = geometry_.kernel.d / 2;
    std::int64_t next = 0;  // of planes to transform
    for (std::int64_t first = item.first_plane; first < item.last_plane; first += regions_.step_planes) {
        const std::int64_t last = std::min(first + regions_.step_planes, item.last_plane);
        for (next = std::max(next, first - around); next < std::min(last + around, regions_.planes()); ++next)
            transform_plane(operands, item, buffers, next);
        multiply(operands, item, buffers, first, last);
        finish(operands, item, buffers, first, last);
    }
}

void WinogradPass::run(Stream stream, View read, const float* bias, bool accumulate, View written, void* scratch,
                       const EpilogueForm& form, const Epilogue& epilogue, const MakePlanes& make) const {
    auto* const beside = form.beside ? epilogue.beside.as<std::byte>() : nullptr;
    auto* const packed = static_cast<std::byte*>(scratch);
    const Operands operands{read.as<const std::byte>(), packed, bias, accumulate,
                            written.as<std::byte>(),    beside, form, epilogue};
    if (made_blocks_ || operands.read == operands.written || operands.read == beside)
        return run_slabs(stream, operands, packed, make);
    std::byte* const memory = packed + packed_bytes();
    parallel_items(stream, items(), workers_, [&](std::int64_t i, std::int64_t worker) {
        run_item(operands, item(i), memory + worker * worker_bytes());
    });
}

void WinogradPass::run_slabs(Stream stream, Operands operands, std::byte* scratch, const MakePlanes& make) const {
    std::byte* const memory = scratch + packed_bytes();
    const bool over = operands.read == operands.written || operands.read == operands.beside;
    Slab& slab = operands.slab = slab_in(memory + workers_ * worker_bytes(), over);
    const std::int64_t planes = regions_.planes(), regions = regions_.count();
    // Items of all a slab's planes, and of a range of them where these are fewer than threads.
    const std::int64_t whole = regions * output_parts_, ranges = std::min(slab_planes_, parts_of(workers_, whole));
    for (std::int64_t start = 0; start < planes; start += slab_planes_) {
        const std::int64_t end = std::min(start + slab_planes_, planes);
        if (made_blocks_) {
            const Shape made{1, made_blocks_ * block_, slab_planes_, geometry_.src.h, geometry_.src.w};
            make(start, {slab.made[start / slab_planes_ % 2], made, type_,
                         block_ == 8 ? Layout::blocked8 : Layout::blocked16});
        }
        slab.first = start ? start - lag_ : 0, slab.last = end == planes ? planes : end - lag_;
        const std::int64_t count = slab.last - slab.first;
        parallel_items(stream, whole * ranges, workers_, [&](std::int64_t i, std::int64_t worker) {
            const std::int64_t range = i / whole, part = i % whole / regions;
            Item of_slab = item(i % regions + part * regions * plane_ranges_);
            of_slab.first_plane = slab.first + range * count / ranges;
            of_slab.last_plane = slab.first + (range + 1) * count / ranges;
            run_item(operands, of_slab, memory + worker * worker_bytes());
        });
        if (over) end_slab(stream, operands);
    }
}

/// Keeps the source's last plane of the slab, and puts the results where the source lay.
void WinogradPass::end_slab(Stream stream, const Operands& operands) const {
    const Slab& slab = operands.slab;
    std::byte* const over = operands.read == operands.written ? operands.written : operands.beside;
    const std::int64_t planes = slab.last - slab.first, own_blocks = input_blocks_ - made_blocks_;
    parallel_for(stream, std::max(own_blocks, output_blocks_) * planes, [&](std::int64_t i) {
        const std::int64_t block = i / planes, plane = slab.first + i % planes;
        if (slab.before && plane + 1 == slab.last && block < own_blocks) {
            const std::byte* const from = operands.read + bytes_to(plane, block, own_blocks);
            std::copy_n(from, plane_bytes(), slab.before + block * plane_bytes());
        }
        if (block < output_blocks_)
            std::copy_n(result_plane(operands, over, plane, block), plane_bytes(),
                        over + bytes_to(plane, block, output_blocks_));
    });
}

}  // namespace iwseg::cpu
