#include "kernels/convolution/taps/weight_gradient.h"

#include <algorithm>

#include "base/bytes.h"
#include "kernels/convolution/taps/thread_room.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/vector_clones.h"

// Work is cut into parts of the positions x chunks of output channels x blocks of input channels, each with a partial
// sum of its own, and these are added up in their order: the cut depends on the shape alone, so the sums have the same
// bits on any number of threads. A part goes over bands of rows, of which it packs the source (packed_row.h).
namespace iwseg::cpu {
namespace {

constexpr std::int64_t kBandBytes = 192 << 10, kTogetherBytes = 24 << 10, kItems = 256, kMostSums = 64;

/// Places 2i + first and the one after it of a row side by side, of all its channels; zeros beyond its length.
template <int S>
IWSEG_VECTOR_CLONES void pair_up(const Bf16* row, std::int64_t length, std::int64_t first, std::int64_t pairs,
                                 std::uint32_t* to) {
    for (std::int64_t i = 0; i < pairs; ++i, to += S) {
        const std::int64_t at = 2 * i + first;
        for (int c = 0; c < S; ++c) {
            const std::uint32_t here = at < length ? row[at * S + c].bits : 0;
            const std::uint32_t next = at + 1 < length ? row[(at + 1) * S + c].bits : 0;
            to[c] = here | next << 16;
        }
    }
}

std::int64_t pairs_of(std::int64_t length) {
    return length / 2 + 1;
}

}  // namespace

/// A band of rows of a plane of the result.
struct TapWeightGradient::Band {
    std::int64_t n, plane, first_row, rows;
};

struct TapWeightGradient::Item {
    std::int64_t group, chunk, input_part, first_unit, last_unit;
};

/// Rows in memory: elements from a row, a plane and a block to the next.
struct TapWeightGradient::Rows {
    const char* data;
    std::int64_t row, plane, block;
};

TapWeightGradient::TapWeightGradient(const ConvolutionOptions& options, Vectors vectors, bool pairs)
    : options_(options),
      dst_(options.dst()),
      vectors_(vectors),
      pairs_(pairs),
      depthwise_(is_depthwise(options)),
      mixed_(depthwise_ || block_of(options.src_layout, options.src.c) == 1),
      taps_(options.taps()),
      src_block_(block_of(options.src_layout, options.src.c)),
      block_(block_of(options.dst_layout, dst_.c)),
      groups_(depthwise_ ? (dst_.c + block_ - 1) / block_ : options.groups),
      inputs_(depthwise_ ? block_ : options.inputs()),
      outputs_(depthwise_ ? block_ : dst_.c / options.groups),
      listed_(depthwise_        ? 1
              : src_block_ == 1 ? inputs_
                                : src_block_),
      d_(result_taps(AxesGeometry(options).d)),
      h_(result_taps(AxesGeometry(options).h)),
      w_(result_taps(AxesGeometry(options).w)),
      packed_row_({w_}, src_block_) {
    for (int k = 0; k < w_.count; ++k)
        odd_starts_ =
            odd_starts_ ||
            packed_row_.start(w_.offset[static_cast<std::size_t>(k)]) / src_block_ % packed_row_.length % 2 != 0;
    lies_packed_ = !pairs && options.src_type == Type::f32 && packed_row_.is_row_of(options.src.w) &&
                   h_.is_inside(options.src.h) && (!mixed_ || d_.is_inside(options.src.d));
    lanes_ = vectors == Vectors::eight ? 8 : block_;
    wide_ = vectors == Vectors::eight || depthwise_ ? lanes_ : 2 * block_;
    chunks_ = (outputs_ + wide_ - 1) / wide_;
    input_parts_ = src_block_ == 1 ? 1 : (inputs_ + src_block_ - 1) / src_block_;
    list_correlated();
    part_inputs_ = aligned(static_cast<std::int64_t>(correlated_.size()), kGradientTileInputs);
    const std::int64_t row = row_elements() * 4 * std::max(d_.count, 1) * (src_block_ == 1 ? inputs_ : 1);
    rows_ = std::clamp<std::int64_t>((kBandBytes / row - h_.spread() - 1) / h_.src_step + 1, 1, h_.positions);
    bands_ = (h_.positions + rows_ - 1) / rows_;
    units_ = dst_.n * d_.positions * bands_;
    const std::int64_t others = groups_ * chunks_ * input_parts_;
    const std::int64_t most = std::max<std::int64_t>(1, (std::int64_t{1} << 20) / (part_inputs_ * wide_ * others));
    sums_ = std::min({most, (kItems + others - 1) / others, units_, kMostSums});
}

void TapWeightGradient::list_correlated() {
    for (int d = 0; d < d_.count; ++d)
        for (int h = 0; h < h_.count; ++h)
            for (int w = 0; w < w_.count; ++w)
                for (std::int64_t c = 0; c < listed_; ++c) {
                    const auto i = static_cast<std::size_t>(d), j = static_cast<std::size_t>(h),
                               k = static_cast<std::size_t>(w);
                    const int tap = (d_.tap[i] * options_.kernel.h + h_.tap[j]) * options_.kernel.w + w_.tap[k];
                    correlated_.push_back(
                        {d, tap, d_.offset[i], h_.offset[j] - h_.least_offset(), row_start(w_.offset[k]), c});
                }
}

std::int64_t TapWeightGradient::scratch_bytes() const {
    return sums_ * groups_ * chunks_ * input_parts_ * part_inputs_ * wide_ * 4;
}

GradientTileKind TapWeightGradient::kind_of(std::int64_t chunk) const {
    const std::int64_t left = (outputs_ - chunk * wide_ + lanes_ - 1) / lanes_;
    return {vectors_, static_cast<int>(lanes_), static_cast<int>(std::min(left, wide_ / lanes_)), pairs_, depthwise_};
}

TapWeightGradient::Item TapWeightGradient::item_at(std::int64_t index) const {
    Item item{};
    item.input_part = index % input_parts_;
    item.chunk = index / input_parts_ % chunks_;
    item.group = index / input_parts_ / chunks_ % groups_;
    const std::int64_t sum = index / input_parts_ / chunks_ / groups_;
    item.first_unit = sum * units_ / sums_;
    item.last_unit = (sum + 1) * units_ / sums_;
    return item;
}

std::int64_t TapWeightGradient::row_elements() const {
    if (!pairs_) return packed_row_.elements();
    return packed_row_.phases * (odd_starts_ ? 2 : 1) * pairs_of(packed_row_.length) * src_block_;
}

std::int64_t TapWeightGradient::row_start(std::int64_t offset) const {
    const std::int64_t start = packed_row_.start(offset);
    if (!pairs_) return start;
    const std::int64_t phase = start / src_block_ / packed_row_.length, at = start / src_block_ % packed_row_.length;
    return ((phase * (odd_starts_ ? 2 : 1) + at % 2) * pairs_of(packed_row_.length) + at / 2) * src_block_;
}

std::int64_t TapWeightGradient::src_room_bytes() const {
    const std::int64_t rows = (rows_ - 1) * h_.src_step + h_.spread() + 1;
    return aligned((src_block_ == 1 ? inputs_ : 1) * d_.count * rows * row_elements() * 4);
}

/// A row of src, null for one outside of the volume, as tiles read it.
void TapWeightGradient::pack_src_row(const void* row, Type type, char* to) const {
    if (!pairs_) return pack_row(row, type, options_.src.w, packed_row_, Type::f32, to);
    // Behind all packed rows there is room for one that is not yet in pairs.
    auto* const single = reinterpret_cast<Bf16*>(to + row_elements() * 4);
    pack_row(row, type, options_.src.w, packed_row_, Type::bf16, single);
    const std::int64_t pairs = pairs_of(packed_row_.length);
    auto* out = reinterpret_cast<std::uint32_t*>(to);
    for (std::int64_t p = 0; p < packed_row_.phases; ++p)
        for (int first = 0; first < (odd_starts_ ? 2 : 1); ++first, out += pairs * src_block_) {
            const Bf16* const from = single + p * packed_row_.length * src_block_;
            if (src_block_ == 1)
                pair_up<1>(from, packed_row_.length, first, pairs, out);
            else
                pair_up<16>(from, packed_row_.length, first, pairs, out);
        }
}

TapWeightGradient::Rows TapWeightGradient::src_rows(const Item& item, const Band& band, const View& src,
                                                    char* room) const {
    const Shape& s = options_.src;
    const std::int64_t size = bytes_of(src.type), area = s.h * s.w * src_block_;
    const std::int64_t all = padded_channels(src.layout, s.c) / src_block_;
    const std::int64_t blocks = src_block_ == 1 ? inputs_ : 1;
    const std::int64_t of_group = src_block_ == 1 ? inputs_ : input_parts_;
    const char* const first =
        src.as<const char>() + (band.n * all + item.group * of_group + item.input_part) * s.d * area * size;
    const std::int64_t top = band.first_row * h_.src_step + h_.least_offset();
    const std::int64_t depth = band.plane * d_.src_step;
    if (lies_packed_) {
        const std::int64_t row = s.w * src_block_;
        return {first + (depth * area + top * row) * size, row, area, s.d * area};
    }
    const std::int64_t row = row_elements(), rows = (band.rows - 1) * h_.src_step + h_.spread() + 1;
    char* to = room;
    for (std::int64_t block = 0; block < blocks; ++block)
        for (int t = 0; t < d_.count; ++t) {
            const std::int64_t z = depth + d_.offset[static_cast<std::size_t>(t)];
            for (std::int64_t y = top; y < top + rows; ++y, to += row * 4) {
                const bool inside = z >= 0 && z < s.d && y >= 0 && y < s.h;
                pack_src_row(inside ? first + ((block * s.d + z) * area + y * s.w * src_block_) * size : nullptr,
                             src.type, to);
            }
        }
    return {room, row, rows * row, d_.count * rows * row};
}

TapWeightGradient::Rows TapWeightGradient::diff_rows(const Item& item, const Band& band, const View& diff,
                                                     char* room) const {
    const std::int64_t size = bytes_of(diff.type), row = dst_.w * block_;
    const std::int64_t all = padded_channels(diff.layout, dst_.c) / block_, of_group = (outputs_ + block_ - 1) / block_;
    const std::int64_t block = item.group * of_group + item.chunk * wide_ / block_;
    const std::int64_t pitch = dst_.d * dst_.h * row;
    const char* const first =
        diff.as<const char>() + ((band.n * all + block) * pitch + (band.plane * dst_.h + band.first_row) * row) * size;
    if (diff.type == Type::f32) return {first, row, 0, pitch};
    const std::int64_t packed = pairs_ ? (dst_.w + 1) / 2 * block_ : row;
    const std::int64_t blocks = std::min(std::max<std::int64_t>(wide_ / block_, 1), all - block);
    PackedRow as_it_lies({}, block_);
    as_it_lies.length = dst_.w;
    char* to = room;
    for (std::int64_t b = 0; b < blocks; ++b)
        for (std::int64_t y = 0; y < band.rows; ++y, to += packed * 4) {
            const char* const from = first + (b * pitch + y * row) * size;
            if (pairs_)
                pair_up<16>(reinterpret_cast<const Bf16*>(from), dst_.w, 0, (dst_.w + 1) / 2,
                            reinterpret_cast<std::uint32_t*>(to));
            else
                pack_row(from, diff.type, dst_.w, as_it_lies, Type::f32, to);
        }
    return {room, packed, 0, band.rows * packed};
}

void TapWeightGradient::add_band(const Item& item, const Band& band, const View& src, const View& diff,
                                 float* partial) const {
    const std::int64_t src_room = src_room_bytes() + aligned(row_elements() * 4);
    const std::int64_t diff_room = diff.type == Type::f32 ? 0 : rows_ * (dst_.w + 1) * std::max(wide_, block_) * 4;
    char* const room = thread_room<0>(src_room + diff_room);
    const Rows from = src_rows(item, band, src, room), with = diff_rows(item, band, diff, room + src_room);
    const GradientTileKind kind = kind_of(item.chunk);
    const GradientTile tile = gradient_tile(kind);
    GradientTileInput input{};
    input.src_step = src_block_;
    input.diff_step = block_;
    input.src_row = from.row * h_.src_step;
    input.diff_row = with.row;
    input.positions = pairs_ ? (dst_.w + 1) / 2 : dst_.w;
    const std::int64_t together =
        std::max<std::int64_t>(1, kTogetherBytes / (input.positions * (src_block_ + wide_) * 4));
    for (std::int64_t y = 0; y < band.rows; y += together) {
        input.rows = std::min(together, band.rows - y);
        for (int v = 0; v < kind.count; ++v) {
            const std::int64_t channel = item.chunk * wide_ % block_ + v * lanes_;
            input.diff[v] = with.data + (channel / block_ * with.block + channel % block_ + y * with.row) * 4;
        }
        // Depthwise, a chunk of half a block reads the same half of the source.
        const std::int64_t vector = depthwise_ ? item.chunk * wide_ : 0;
        const char* const rows = from.data + y * input.src_row * 4;
        for (std::size_t first = 0; first < correlated_.size(); first += kGradientTileInputs) {
            // Where a tile has several taps, rows of planes outside of the volume are zeros.
            const std::int64_t z = band.plane * d_.src_step + correlated_[first].depth;
            if (!mixed_ && (z < 0 || z >= options_.src.d)) continue;
            for (std::size_t i = 0; i < kGradientTileInputs; ++i) {
                const Correlated& one = correlated_[std::min(first + i, correlated_.size() - 1)];
                input.src[i] = rows + ((lies_packed_ ? one.depth : one.plane) * from.plane + one.row * from.row +
                                       one.start + one.channel * (src_block_ == 1 ? from.block : 1) + vector) *
                                          4;
            }
            tile(input, partial + static_cast<std::int64_t>(first) * kind.count * kind.lanes);
        }
    }
}

/// Writes what a chunk of output channels and a part of the input channels add up to.
void TapWeightGradient::sum_partials(std::int64_t of, const float* partials, float* diff_weights) const {
    const Item item = item_at(of);
    const std::int64_t others = groups_ * chunks_ * input_parts_, size = part_inputs_ * wide_;
    const GradientTileKind kind = kind_of(item.chunk);
    const std::int64_t wide = std::int64_t{kind.count} * kind.lanes, first = item.chunk * wide_;
    const std::int64_t outputs = std::min({wide, outputs_ - first, dst_.c - item.group * outputs_ - first});
    // A channel's sums are exchanged in memory that stays in the first cache; taps that never read inside of the source
    // keep their zeros.
    constexpr std::int64_t kMostTaps = 343, kMostWide = 32;
    float of_channel[kMostWide * kMostTaps] = {};
    for (std::int64_t channel = 0; channel < listed_; ++channel) {
        const std::int64_t c = item.input_part * src_block_ + channel;
        if (c >= inputs_) break;
        for (std::int64_t i = channel; i < static_cast<std::int64_t>(correlated_.size()); i += listed_) {
            double total[kMostWide] = {};
            for (std::int64_t sum = 0; sum < sums_; ++sum) {
                const float* const from = partials + (sum * others + of) * size + i * wide;
                for (std::int64_t o = 0; o < wide; ++o) total[o] += from[o];
            }
            const int tap = correlated_[static_cast<std::size_t>(i)].tap;
            for (std::int64_t o = 0; o < outputs; ++o) of_channel[o * taps_ + tap] = static_cast<float>(total[o]);
        }
        for (std::int64_t o = 0; o < outputs; ++o) {
            const std::int64_t output = item.group * outputs_ + first + o;
            std::copy_n(of_channel + o * taps_, taps_,
                        diff_weights + (depthwise_ ? output : output * inputs_ + c) * taps_);
        }
    }
}

void TapWeightGradient::run(Stream stream, View src, View diff_dst, float* diff_weights, void* scratch) const {
    auto* const partials = static_cast<float*>(scratch);
    const std::int64_t others = groups_ * chunks_ * input_parts_, size = part_inputs_ * wide_;
    parallel_for(stream, sums_ * others, [&](std::int64_t i) {
        const Item item = item_at(i);
        float* const partial = partials + i * size;
        std::fill_n(partial, size, 0.0f);
        for (std::int64_t unit = item.first_unit; unit < item.last_unit; ++unit) {
            const std::int64_t first = unit % bands_ * rows_;
            add_band(item,
                     {unit / bands_ / d_.positions, unit / bands_ % d_.positions, first,
                      std::min(rows_, h_.positions - first)},
                     src, diff_dst, partial);
        }
    });
    parallel_for(stream, others, [&](std::int64_t of) { sum_partials(of, partials, diff_weights); });
}

}  // namespace iwseg::cpu
