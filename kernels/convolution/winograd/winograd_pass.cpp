#include "kernels/convolution/winograd/winograd_pass.h"

#include <algorithm>

#include "kernels/convolution/epilogue_block.h"
#include "kernels/convolution/taps/thread_room.h"
#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {
namespace {

/// So many items that threads end at about one time, if need be by blocks of outputs, of which an item has at least so
/// many: each transforms the source anew.
constexpr std::int64_t kEnoughItems = 32, kLeastBlocks = 4;
constexpr int kMostBlock = 16;

}  // namespace

/// Where a thread has an item's transformed planes, (slot, position, input block, tile, L), and sums, (position, output
/// block, plane, tile, L).
struct WinogradPass::Room {
    float *planes, *sums;
    std::int64_t slots, slot, position;  ///< slots; elements from one to the next
    std::int64_t tiles;                  ///< of a plane: elements
    std::int64_t sum_position;

    float* plane(std::int64_t number) const { return planes + number % slots * slot; }
    float* sums_of(std::int64_t output_block, std::int64_t plane, std::int64_t step_planes) const {
        return sums + (output_block * step_planes + plane) * tiles;
    }
};

WinogradPass::WinogradPass(const ConvolutionGeometry& g, std::int64_t block, bool data_gradient, Vectors vectors)
    : geometry_(g),
      block_(block),
      data_gradient_(data_gradient),
      vectors_(vectors),
      transforms_(winograd_transforms(vectors, block)),
      inputs_(data_gradient ? g.dst_channels : g.src.c),
      outputs_(data_gradient ? g.src.c : g.dst_channels),
      input_blocks_(parts_of(inputs_, block)),
      output_blocks_(parts_of(outputs_, block)),
      regions_(g.src) {
    const std::int64_t regions = regions_.count();
    plane_ranges_ = std::min(parts_of(regions_.planes(), regions_.step_planes), parts_of(kEnoughItems, regions));
    output_parts_ = std::min(parts_of(output_blocks_, kLeastBlocks), parts_of(kEnoughItems, regions * plane_ranges_));
}

WinogradPass::Item WinogradPass::item(std::int64_t number) const {
    const std::int64_t regions = regions_.count(), planes = regions_.planes();
    const std::int64_t range = number / regions % plane_ranges_, part = number / regions / plane_ranges_;
    // Pairs of blocks are not divided, whose weights lie together.
    const std::int64_t pairs = parts_of(output_blocks_, 2);
    return {.tiles = regions_.tiles(number % regions),
            .first_plane = range * planes / plane_ranges_,
            .last_plane = (range + 1) * planes / plane_ranges_,
            .first_block = 2 * (part * pairs / output_parts_),
            .last_block = std::min(2 * ((part + 1) * pairs / output_parts_), output_blocks_)};
}

/// Elements of packed weights from one position to the next.
std::int64_t WinogradPass::weights_position() const {
    return vectors_of_position(geometry_.kernel.d * input_blocks_ * output_blocks_ * block_) * block_;
}

std::int64_t WinogradPass::packed_bytes() const {
    return kWinogradPositions * weights_position() * static_cast<std::int64_t>(sizeof(float));
}

/// To (position, pair of output blocks, depth, input, output of the pair).
void WinogradPass::pack(Stream stream, const float* weights, float* packed) const {
    const std::int64_t taps = geometry_.taps(), depths = geometry_.kernel.d;
    constexpr std::int64_t kArea = 9;
    const std::int64_t of_output = data_gradient_ ? taps : geometry_.src.c * taps;
    const std::int64_t of_input = data_gradient_ ? geometry_.src.c * taps : taps;
    const std::int64_t all_inputs = input_blocks_ * block_;
    parallel_for(stream, output_blocks_ * all_inputs, [&](std::int64_t i) {
        const std::int64_t block = i / all_inputs, input = i % all_inputs;
        const std::int64_t outputs = std::min(block_, outputs_ - block * block_), pair = block / 2 * 2;
        float plain[3 * kArea * kMostBlock] = {};
        for (std::int64_t o = 0; input < inputs_ && o < outputs; ++o) {
            const float* const from = weights + (block * block_ + o) * of_output + input * of_input;
            for (std::int64_t tap = 0; tap < taps; ++tap)
                plain[(data_gradient_ ? taps - 1 - tap : tap) * block_ + o] = from[tap];
        }
        const std::int64_t wide = together(pair) * block_;
        float* const to = packed + pair * block_ * depths * all_inputs + input * wide + (block - pair) * block_;
        for (std::int64_t d = 0; d < depths; ++d)
            transforms_.weights(plain + d * kArea * block_, to + d * all_inputs * wide, weights_position());
    });
}

WinogradPass::Room WinogradPass::room_of(const Item& item) const {
    Room room{};
    room.tiles = item.tiles.count() * block_;
    room.slots = regions_.step_planes + geometry_.kernel.d - 1;
    room.position = vectors_of_position(input_blocks_ * item.tiles.count()) * block_;
    room.slot = kWinogradPositions * room.position;
    room.sum_position =
        vectors_of_position((item.last_block - item.first_block) * regions_.step_planes * item.tiles.count()) * block_;
    const std::int64_t elements = room.slots * room.slot + kWinogradPositions * room.sum_position;
    room.planes = reinterpret_cast<float*>(thread_room<2>(elements * static_cast<std::int64_t>(sizeof(float))));
    room.sums = room.planes + room.slots * room.slot;
    return room;
}

void WinogradPass::transform_plane(const Operands& operands, const Item& item, const Room& room,
                                   std::int64_t plane) const {
    float* const to = room.plane(plane);
    for (std::int64_t block = 0; block < input_blocks_; ++block)
        transforms_.source(operands.read + regions_.plane_at(plane, block, input_blocks_, block_), item.tiles,
                           to + block * room.tiles, room.position);
}

/// All sums of planes from a first to before a last.
void WinogradPass::multiply(const Operands& operands, const Item& item, const Room& room, std::int64_t first,
                            std::int64_t last) const {
    const std::int64_t depths = geometry_.kernel.d, all_inputs = input_blocks_ * block_, tiles = item.tiles.count();
    for (std::int64_t position = 0; position < kWinogradPositions; ++position)
        for (std::int64_t block = item.first_block; block < item.last_block; block += 2) {
            const int blocks = together(block);
            const float* const weights =
                operands.packed + position * weights_position() + block * block_ * depths * all_inputs;
            const std::int64_t groups = parts_of(tiles, most_winograd_tiles(vectors_, blocks));
            for (std::int64_t plane = first; plane < last; ++plane) {
                WinogradProductInput input{};
                input.blocks = input_blocks_;
                input.src_block = room.tiles;
                const float* src[kWinogradDepths];
                for (std::int64_t d = 0; d < depths; ++d) {
                    const std::int64_t z = plane % geometry_.src.d + d - depths / 2;
                    if (z < 0 || z >= geometry_.src.d) continue;
                    src[input.depths] = room.plane(plane + d - depths / 2) + position * room.position;
                    input.weights[input.depths++] = weights + d * all_inputs * blocks * block_;
                }
                float* const sums = room.sums_of(block - item.first_block, plane - first, regions_.step_planes) +
                                    position * room.sum_position;
                for (std::int64_t g = 0; g < groups; ++g) {
                    const std::int64_t tile = g * tiles / groups, count = (g + 1) * tiles / groups - tile;
                    for (int d = 0; d < input.depths; ++d) input.src[d] = src[d] + tile * block_;
                    winograd_product(vectors_, block_, blocks, static_cast<int>(count))(
                        input, sums + tile * block_, regions_.step_planes * room.tiles);
                }
            }
        }
}

void WinogradPass::finish(const Operands& operands, const Item& item, const Room& room, std::int64_t first,
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
            const std::int64_t at = regions_.plane_at(plane, block, output_blocks_, block_);
            if (operands.form.beside) finish.beside = operands.epilogue.beside.as<float>() + at;
            transforms_.result(room.sums_of(block - item.first_block, plane - first, regions_.step_planes),
                               room.sum_position, item.tiles, finish, operands.written + at);
        }
    }
}

void WinogradPass::run_item(const Operands& operands, const Item& item) const {
    const Room room = room_of(item);
    const std::int64_t around = geometry_.kernel.d / 2;
    std::int64_t next = 0;  // of planes to transform
    for (std::int64_t first = item.first_plane; first < item.last_plane; first += regions_.step_planes) {
        const std::int64_t last = std::min(first + regions_.step_planes, item.last_plane);
        for (next = std::max(next, first - around); next < std::min(last + around, regions_.planes()); ++next)
            transform_plane(operands, item, room, next);
        multiply(operands, item, room, first, last);
        finish(operands, item, room, first, last);
    }
}

void WinogradPass::run(Stream stream, View read, const float* packed, const float* bias, bool accumulate, View written,
                       const EpilogueForm& form, const Epilogue& epilogue) const {
    const Operands operands{read.as<const float>(), packed, bias, accumulate, written.as<float>(), form, epilogue};
    parallel_for(stream, items(), [&](std::int64_t i) { run_item(operands, item(i)); });
}

}  // namespace iwseg::cpu
