#include "kernels/convolution/winograd/winograd_gradient.h"

#include <algorithm>
#include <array>

#include "kernels/convolution/winograd/worker_items.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

/// So many items that threads end at about one time, if sums take no more than these bytes.
constexpr std::int64_t kItemsWanted = 32, kSumsBytes = 8 << 20;
constexpr std::int64_t kBlocksOfItem = 4;
constexpr int kMostTaps = 27;

/// G' u G of a block of outputs: u is (position, L), to (3, 3, L).
template <int L>
IWSEG_VECTOR_CLONES void weights_of(const double* u, double* to) {
    double columns[3][4][L];
    for (int j = 0; j < 4; ++j)
        for (int o = 0; o < L; ++o) {
            const double middle = 0.5 * u[(4 + j) * L + o], other = 0.5 * u[(8 + j) * L + o];
            columns[0][j][o] = u[j * L + o] + middle + other;
            columns[1][j][o] = middle - other;
            columns[2][j][o] = u[(12 + j) * L + o] + middle + other;
        }
    for (int i = 0; i < 3; ++i)
        for (int o = 0; o < L; ++o) {
            const double middle = 0.5 * columns[i][1][o], other = 0.5 * columns[i][2][o];
            to[3 * i * L + o] = columns[i][0][o] + middle + other;
            to[(3 * i + 1) * L + o] = middle - other;
            to[(3 * i + 2) * L + o] = columns[i][3][o] + middle + other;
        }
}

}  // namespace

/// A region of tiles of some planes.
struct WinogradGradient::Step {
    std::int64_t region, first_plane, last_plane;
    WinogradTiles tiles;
};

/// Where a thread has an item's transformed planes of the source, (slot, position, input block, tile, L), and a step's
/// of the result's gradient, (position, output block, plane, tile, L).
struct WinogradGradient::Buffers {
    float *src, *diff;
    std::int64_t slots, slot, src_position, diff_position;  ///< slots; elements from one to the next

    float* src_plane(std::int64_t index) const { return src + index % slots * slot; }
    std::int64_t elements() const { return slots * slot + kWinogradPositions * diff_position; }
};

WinogradGradient::WinogradGradient(const ConvolutionGeometry& g, Type type, std::int64_t block, Vectors vectors,
                                   int threads)
    : geometry_(g),
      type_(type),
      block_(block),
      vectors_(vectors),
      transforms_(winograd_transforms(vectors, block, type)),
      input_blocks_(parts_of(g.src.c, block)),
      output_blocks_(parts_of(g.dst_channels, block)),
      regions_(g.src),
      input_parts_(parts_of(input_blocks_, kBlocksOfItem)),
      output_parts_(parts_of(output_blocks_, kBlocksOfItem)) {
    const std::int64_t most = std::max<std::int64_t>(1, kSumsBytes / (range_elements() * 4));
    ranges_ = std::min({steps(), parts_of(kItemsWanted, input_parts_ * output_parts_), most});
    workers_ = std::min<std::int64_t>(threads, items());
}

std::int64_t WinogradGradient::range_elements() const {
    return kWinogradPositions * geometry_.kernel.d * input_blocks_ * output_blocks_ * block_ * block_;
}

std::int64_t WinogradGradient::worker_elements() const {
    Item largest{};
    largest.last_input = parts_of(input_blocks_, input_parts_);
    largest.last_output = parts_of(output_blocks_, output_parts_);
    return buffers_of(largest, nullptr).elements();
}

std::int64_t WinogradGradient::scratch_bytes() const {
    return (ranges_ * range_elements() + workers_ * worker_elements()) * static_cast<std::int64_t>(sizeof(float));
}

WinogradGradient::Item WinogradGradient::item(std::int64_t index, float* sums) const {
    const std::int64_t part = index % (input_parts_ * output_parts_), range = index / (input_parts_ * output_parts_);
    Item item{};
    item.first_input = part / output_parts_ * input_blocks_ / input_parts_;
    item.last_input = (part / output_parts_ + 1) * input_blocks_ / input_parts_;
    item.first_output = part % output_parts_ * output_blocks_ / output_parts_;
    item.last_output = (part % output_parts_ + 1) * output_blocks_ / output_parts_;
    item.first_step = range * steps() / ranges_;
    item.last_step = (range + 1) * steps() / ranges_;
    // After those of the parts before: whole rows of parts, then, of this row, those to its left.
    const std::int64_t pairs =
        item.first_input * output_blocks_ + (item.last_input - item.first_input) * item.first_output;
    item.sums = sums + range * range_elements() + pairs * kWinogradPositions * geometry_.kernel.d * block_ * block_;
    return item;
}

WinogradGradient::Step WinogradGradient::step(std::int64_t index) const {
    Step step{};
    step.region = index / plane_steps();
    step.first_plane = index % plane_steps() * regions_.step_planes;
    step.last_plane = std::min(step.first_plane + regions_.step_planes, regions_.planes());
    step.tiles = regions_.tiles(step.region);
    return step;
}

WinogradGradient::Buffers WinogradGradient::buffers_of(const Item& item, float* memory) const {
    const std::int64_t tiles = regions_.largest();
    Buffers buffers{};
    buffers.slots = regions_.step_planes + geometry_.kernel.d - 1;
    buffers.src_position = vectors_of_position((item.last_input - item.first_input) * tiles) * block_;
    buffers.slot = kWinogradPositions * buffers.src_position;
    buffers.diff_position =
        vectors_of_position((item.last_output - item.first_output) * regions_.step_planes * tiles) * block_;
    buffers.src = memory;
    buffers.diff = memory + buffers.slots * buffers.slot;
    return buffers;
}

void WinogradGradient::multiply(const Item& item, const Step& step, const Buffers& buffers) const {
    const std::int64_t depths = geometry_.kernel.d, tiles = step.tiles.count(), plane = tiles * block_;
    const int together = block_ == 8 ? 2 : 1;
    float* sums = item.sums;
    WinogradGradientInput input{};
    input.tiles = tiles;
    input.diff_block = regions_.step_planes * plane;
    for (std::int64_t position = 0; position < kWinogradPositions; ++position)
        for (std::int64_t d = 0; d < depths; ++d) {
            std::array<const float*, kWinogradGradientPlanes> src{}, diff{};
            input.planes = 0;
            for (std::int64_t p = step.first_plane; p < step.last_plane; ++p) {
                const std::int64_t moved = d - depths / 2, z = p % geometry_.src.d + moved;
                if (z < 0 || z >= geometry_.src.d) continue;
                const auto at = static_cast<std::size_t>(input.planes++);
                src[at] = buffers.src_plane(p + moved) + position * buffers.src_position;
                diff[at] = buffers.diff + position * buffers.diff_position + (p - step.first_plane) * plane;
            }
            for (std::int64_t in = 0; in < item.last_input - item.first_input; ++in)
                for (std::int64_t out = 0; out < item.last_output - item.first_output;) {
                    const auto blocks =
                        static_cast<int>(std::min<std::int64_t>(together, item.last_output - item.first_output - out));
                    for (int i = 0; i < input.planes; ++i) {
                        input.src[i] = src[static_cast<std::size_t>(i)] + in * plane;
                        input.diff[i] = diff[static_cast<std::size_t>(i)] + out * input.diff_block;
                    }
                    winograd_gradient_product(vectors_, block_, blocks)(input, sums);
                    sums += blocks * block_ * block_;
                    out += blocks;
                }
        }
}

void WinogradGradient::run_item(const std::byte* src, const std::byte* diff, const Item& item, float* memory) const {
    const Buffers buffers = buffers_of(item, memory);
    const std::int64_t around = geometry_.kernel.d / 2;
    std::fill_n(item.sums,
                kWinogradPositions * geometry_.kernel.d * (item.last_input - item.first_input) *
                    (item.last_output - item.first_output) * block_ * block_,
                0.0f);
    const std::int64_t plane_bytes = geometry_.src.h * geometry_.src.w * block_ * bytes_of(type_);
    std::int64_t region = -1, next = 0;  // of planes to transform
    for (std::int64_t index = item.first_step; index < item.last_step; ++index) {
        const Step at = step(index);
        const std::int64_t plane_elements = at.tiles.count() * block_;
        if (at.region != region) region = at.region, next = 0;
        for (next = std::max(next, at.first_plane - around); next < std::min(at.last_plane + around, regions_.planes());
             ++next)
            for (std::int64_t block = item.first_input; block < item.last_input; ++block)
                transforms_.source(src + regions_.plane_at(next, block, input_blocks_) * plane_bytes, at.tiles,
                                   buffers.src_plane(next) + (block - item.first_input) * plane_elements,
                                   buffers.src_position);
        for (std::int64_t block = item.first_output; block < item.last_output; ++block)
            for (std::int64_t plane = at.first_plane; plane < at.last_plane; ++plane)
                transforms_.gradient(
                    diff + regions_.plane_at(plane, block, output_blocks_) * plane_bytes, at.tiles,
                    buffers.diff +
                        ((block - item.first_output) * regions_.step_planes + plane - at.first_plane) * plane_elements,
                    buffers.diff_position);
        multiply(item, at, buffers);
    }
}

/// Writes the gradient of a block of outputs' weights for a block of inputs.
void WinogradGradient::add_up(std::int64_t output_block, std::int64_t input_block, const float* sums,
                              float* diff_weights) const {
    const std::int64_t depths = geometry_.kernel.d, taps = geometry_.taps(), pair = block_ * block_;
    // The part that has both.
    std::int64_t part = 0;
    while (item(part, nullptr).last_input <= input_block) part += output_parts_;
    while (item(part, nullptr).last_output <= output_block) ++part;
    const Item of = item(part, const_cast<float*>(sums));
    const std::int64_t outputs = of.last_output - of.first_output;
    const std::int64_t depth_elements = (of.last_input - of.first_input) * outputs * pair;
    const float* const first =
        of.sums + ((input_block - of.first_input) * outputs + output_block - of.first_output) * pair;
    for (std::int64_t i = 0; i < std::min(block_, geometry_.src.c - input_block * block_); ++i) {
        double weights[kMostTaps * 16];
        for (std::int64_t d = 0; d < depths; ++d) {
            double all[kWinogradPositions * 16] = {};
            for (std::int64_t range = 0; range < ranges_; ++range)
                for (std::int64_t position = 0; position < kWinogradPositions; ++position) {
                    const float* const from =
                        first + range * range_elements() + (position * depths + d) * depth_elements + i * block_;
                    for (std::int64_t o = 0; o < block_; ++o) all[position * block_ + o] += from[o];
                }
            (block_ == 8 ? weights_of<8> : weights_of<16>)(all, weights + d * 9 * block_);
        }
        for (std::int64_t o = 0; o < std::min(block_, geometry_.dst_channels - output_block * block_); ++o) {
            float* const to =
                diff_weights + ((output_block * block_ + o) * geometry_.src.c + input_block * block_ + i) * taps;
            for (std::int64_t tap = 0; tap < taps; ++tap) to[tap] = static_cast<float>(weights[tap * block_ + o]);
        }
    }
}

void WinogradGradient::run(Stream stream, View src, View diff_dst, float* diff_weights, float* scratch) const {
    float* const memory = scratch + ranges_ * range_elements();
    parallel_items(stream, items(), workers_, [&](std::int64_t i, std::int64_t worker) {
        run_item(src.as<const std::byte>(), diff_dst.as<const std::byte>(), item(i, scratch),
                 memory + worker * worker_elements());
    });
    parallel_for(stream, output_blocks_ * input_blocks_,
                 [&](std::int64_t i) { add_up(i / input_blocks_, i % input_blocks_, scratch, diff_weights); });
}

}  // namespace iwseg::cpu
