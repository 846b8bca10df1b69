#include "kernels/convolution/taps/tap_sums.h"

#include <algorithm>
#include <type_traits>

#include "base/bytes.h"
#include "kernels/convolution/epilogue_block.h"
#include "kernels/convolution/taps/thread_room.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/vector_clones.h"

#if IWSEG_TAPS_ON_X86
#include <immintrin.h>
#endif

// Work is cut into bands of rows of a plane and, where weights are many, into chunks of output channels. Where the
// source is not read as it lies, its rows are packed first: those of a band into memory of the thread that stays in the
// second cache or, where many channels leave room for few rows there, all into scratch that stays in the third. A
// copied vector of 16 channels is then multiplied 32 times for each tap of its row. The weights of a chunk are passed
// in groups of input channels that stay in the second cache too, from tile to tile of the band.
namespace iwseg::cpu {
namespace {

constexpr std::int64_t kBandBytes = 256 << 10, kCopyBytes = 16 << 20, kWeightBytes = 192 << 10, kFewItems = 128;
constexpr std::int64_t kUncachedBytes = 16 << 20;
constexpr std::int64_t kBandRows = 8, kBandPositions = 512;

std::vector<AxisTaps> phases_of(const AxisGeometry& axis, TapDirection direction) {
    if (direction == TapDirection::result) return {result_taps(axis)};
    return source_gradient_taps(axis);
}

struct Pitches {
    std::int64_t from, to;  ///< elements from a position to the next
};

/// What becomes of the sums of a block of channels at neighbouring positions.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void finish_plain(const float* sums, std::int64_t positions, const Pitches& pitch,
                                      const float* bias, T* to) {
    for (std::int64_t i = 0; i < positions; ++i, sums += pitch.from, to += pitch.to)
        for (int b = 0; b < B; ++b) {
            const float value = sums[b] + bias[b];
            store(to[b], kAccumulate ? to_f32(to[b]) + value : value);
        }
}

#if IWSEG_TAPS_ON_X86
/// The same past the caches, so that what is written is not read first: 4 to 8 % of a convolution.
IWSEG_FOR_AVX512 void finish_past_caches(const float* sums, std::int64_t positions, const Pitches& pitch,
                                         const float* bias, float* to) {
    for (std::int64_t i = 0; i < positions; ++i, sums += pitch.from, to += pitch.to)
        _mm512_stream_ps(to, _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(bias)));
}
/// Lets other threads see them in order.
void fence() {
    _mm_sfence();
}
#else
void fence() {}
constexpr auto finish_past_caches = finish_plain<16, float, false>;
#endif

/// The same and an epilogue after it, of a result, whose positions lie side by side: in whole vectors, beyond the last
/// position too, so that nothing is left for single elements.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void finish_after(const BlockEpilogue<B>& epilogue, const float* sums, std::int64_t positions,
                                      std::int64_t pitch, T* to, T* after) {
    constexpr int kLanes = BlockEpilogue<B>::kLanes;
    alignas(kCacheLine) float own[(kTapTilePositions * B + kLanes - 1) / kLanes * kLanes] = {};
    const std::int64_t elements = positions * B;
    for (std::int64_t i = 0; i < positions; ++i)
        for (int b = 0; b < B; ++b) {
            const float value = sums[i * pitch + b] + epilogue.bias[b];
            own[i * B + b] = kAccumulate ? to_f32(to[i * B + b]) + value : value;
        }
    for (std::int64_t i = 0; after && i < elements; ++i) store(to[i], own[i]);
    for (std::int64_t i = 0; i < elements; i += kLanes)
        for (int l = 0; l < kLanes; ++l) own[i + l] = epilogue(own[i + l], l);
    T* const result = after ? after : to;
    for (std::int64_t i = 0; i < elements; ++i) store(result[i], own[i]);
}

}  // namespace

struct TapSums::Item {
    std::int64_t group, n, plane, first_row, rows, first_chunk, last_chunk;
    const AxisTaps *d, *h;
};

/// The rows that an item reads, packed or where they lie.
struct TapSums::Source {
    const char* data;                ///< of the first row's first position, as if the least tap of each axis were there
    std::int64_t row, plane, block;  ///< elements from one to the next; planes of depths that exist
};

TapSums::TapSums(const ConvolutionOptions& options, TapDirection direction, Vectors vectors, bool pairs)
    : options_(options),
      direction_(direction),
      vectors_(vectors),
      pairs_(pairs),
      rounded_(options.src_type == Type::bf16),
      depthwise_(is_depthwise(options)),
      from_(direction == TapDirection::result ? options.src : options.dst()),
      to_(direction == TapDirection::result ? options.dst() : options.src),
      taps_(options.taps()),
      src_block_(block_of(direction == TapDirection::result ? options.src_layout : options.dst_layout, from_.c)),
      block_(block_of(options.dst_layout, to_.c)),
      groups_(depthwise_ ? (to_.c + block_ - 1) / block_ : options.groups),
      inputs_(depthwise_ ? block_ : from_.c / options.groups),
      outputs_(depthwise_ ? block_ : to_.c / options.groups),
      input_blocks_((inputs_ + src_block_ - 1) / src_block_),
      output_blocks_((outputs_ + block_ - 1) / block_),
      d_(phases_of(AxesGeometry(options).d, direction)),
      h_(phases_of(AxesGeometry(options).h, direction)),
      w_(phases_of(AxesGeometry(options).w, direction)),
      packed_row_(w_, src_block_) {
    cut_outputs(vectors);
    choose_reading();
    cut_rows();
}

void TapSums::choose_reading() {
    const Type from = direction_ == TapDirection::result ? options_.src_type : options_.dst_type;
    if ((pairs_ || from == Type::f32) && packed_row_.is_row_of(from_.w) &&
        std::all_of(h_.begin(), h_.end(), [&](const AxisTaps& h) { return h.is_inside(from_.h); })) {
        reading_ = Reading::tensor;
        return;
    }
    std::int64_t bottom = 0, planes = 1, band_rows = 1;
    for (const AxisTaps& h : h_) {
        copy_top_ = std::min(copy_top_, h.least_offset());
        bottom = std::max(bottom, (h.positions - 1) * h.src_step + h.least_offset() + h.spread());
        band_rows = std::max(band_rows, (kBandRows - 1) * h.src_step + h.spread() + 1);
    }
    for (const AxisTaps& d : d_) planes = std::max<std::int64_t>(planes, d.count);
    copy_rows_ = bottom - copy_top_ + 1;
    const std::int64_t band = std::min(band_rows, copy_rows_) * planes * input_blocks_ * packed_row_.elements();
    const std::int64_t size = pairs_ ? 2 : 4;
    reading_ = Reading::copy;
    if (band * size <= kBandBytes || packed_source_bytes() > kCopyBytes) reading_ = Reading::bands;
}

std::int64_t TapSums::packed_source_bytes() const {
    if (reading_ != Reading::copy) return 0;
    const std::int64_t blocks = groups_ * input_blocks_;
    return from_.n * blocks * from_.d * copy_rows_ * packed_row_.elements() * (pairs_ ? 2 : 4);
}

void TapSums::cut_outputs(Vectors vectors) {
    const std::int64_t most = most_tap_outputs(vectors) / block_;
    for (std::int64_t first = 0, blocks = most; first < output_blocks_; first += blocks) {
        while (blocks > output_blocks_ - first) blocks /= 2;
        chunks_.push_back({first, static_cast<int>(blocks)});
    }
}

void TapSums::cut_rows() {
    const auto bytes = [&](std::int64_t elements) { return elements * (pairs_ ? 2 : 4); };
    const auto chunks = static_cast<std::int64_t>(chunks_.size());
    const int tile_rows = largest_tap_tile(kind_of(chunks_[0]), w_[0].positions).rows;
    std::int64_t planes = 0;
    for (const AxisTaps& d : d_) planes += d.positions * static_cast<std::int64_t>(h_.size());
    // Without bands of their own, chunks of output channels pass one after the other.
    const std::int64_t by_weights = bytes(outputs_ * inputs_ * taps_) / (2 * kWeightBytes);
    if (reading_ != Reading::bands) splits_ = std::clamp(by_weights, std::int64_t{1}, chunks);
    for (const AxisTaps& d : d_)
        for (const AxisTaps& h : h_) {
            std::int64_t rows = std::max<std::int64_t>(kBandPositions / w_[0].positions, 1);
            if (reading_ == Reading::bands) {
                const std::int64_t row = bytes(packed_row_.elements() * input_blocks_ * std::max(d.count, 1));
                rows = std::max<std::int64_t>(0, kBandBytes / row - h.spread() - 1) / h.src_step + 1;
            }
            const std::int64_t enough = kFewItems / (to_.n * groups_ * planes * splits_) + 1;
            rows = std::min(rows, (h.positions + enough - 1) / enough);
            if (rows < h.positions) rows = std::max<std::int64_t>(rows / tile_rows, 1) * tile_rows;
            if (rows > h.positions / 2) rows = h.positions;  // in place of a full band and a narrow one
            const std::int64_t bands = (h.positions + rows - 1) / rows;
            parts_.push_back({&d, &h, rows, bands, items_});
            items_ += d.positions * bands;
        }
    items_ *= to_.n * groups_;
    splits_ = std::clamp((kFewItems + items_ - 1) / items_, splits_, chunks);
    items_ *= splits_;
}

TapTileKind TapSums::kind_of(const Chunk& chunk) const {
    return {vectors_, static_cast<int>(chunk.blocks * block_), static_cast<int>(src_block_), pairs_, depthwise_};
}

std::int64_t TapSums::packed_weight_bytes() const {
    return groups_ * output_blocks_ * block_ * input_blocks_ * weights_inputs() * taps_ * (pairs_ ? 2 : 4);
}

void TapSums::pack_weights(Stream stream, const float* weights, void* packed) const {
    if (depthwise_) {
        auto* const to = static_cast<float*>(packed);
        for (std::int64_t c = 0; c < groups_ * block_; ++c)
            for (std::int64_t tap = 0; tap < taps_; ++tap) {
                const float value = c < to_.c ? weights[c * taps_ + tap] : 0.0f;
                to[(c / block_ * taps_ + tap) * block_ + c % block_] = rounded_ ? round_to_bf16(value) : value;
            }
        return;
    }
    const std::int64_t chunks = static_cast<std::int64_t>(chunks_.size());
    const bool gradient = direction_ == TapDirection::source_gradient;
    parallel_for(stream, groups_ * chunks * input_blocks_, [&](std::int64_t i) {
        const std::int64_t group = i / input_blocks_ / chunks, input_block = i % input_blocks_;
        const Chunk chunk = chunks_[static_cast<std::size_t>(i / input_blocks_ % chunks)];
        const std::int64_t wide = chunk.blocks * block_, S = src_block_;
        const std::int64_t place =
            ((group * output_blocks_ + chunk.first) * input_blocks_ * block_ + input_block * wide) * S * taps_;
        auto* const f32 = static_cast<float*>(packed) + place;
        auto* const bf16 = static_cast<Bf16*>(packed) + place;
        for (std::int64_t c = 0; c < S; ++c) {
            // A channel's weights are exchanged in memory that stays in the first cache: where they belong, a tap's
            // are so far from the next one's that they would push each other out.
            alignas(64) float of_channel[343 * kTapTileOutputs];
            for (std::int64_t o = 0; o < wide; ++o) {
                const std::int64_t output = chunk.first * block_ + o, input = input_block * S + c;
                const bool real = output < outputs_ && input < inputs_;
                // Of the convolution's weights (O, C / groups, kernel), whose outputs a gradient's inputs are.
                const float* const of = weights + (gradient ? (group * inputs_ + input) * outputs_ + output
                                                            : (group * outputs_ + output) * inputs_ + input) *
                                                      taps_;
                // So many rows at once are no stream that the processor would foresee.
                for (std::int64_t ahead = 0; real && ahead < taps_; ahead += 16)
                    __builtin_prefetch(of + 4 * taps_ + ahead);
                for (std::int64_t tap = 0; tap < taps_; ++tap) of_channel[tap * wide + o] = real ? of[tap] : 0.0f;
            }
            for (std::int64_t tap = 0; tap < taps_; ++tap) {
                const float* const of_tap = of_channel + tap * wide;
                if (pairs_)
                    for (std::int64_t o = 0; o < wide; ++o)
                        store(bf16[((tap * S / 2 + c / 2) * wide + o) * 2 + c % 2], of_tap[o]);
                else
                    for (std::int64_t o = 0; o < wide; ++o)
                        f32[(tap * S + c) * wide + o] = rounded_ ? round_to_bf16(of_tap[o]) : of_tap[o];
            }
        }
    });
}

TapSums::Item TapSums::item_at(std::int64_t index) const {
    const std::int64_t chunks = static_cast<std::int64_t>(chunks_.size());
    const std::int64_t each = items_ / splits_, split = index / each;
    const std::int64_t bands = each / to_.n / groups_, at = index % bands;
    Item item{};
    item.first_chunk = split * chunks / splits_;
    item.last_chunk = (split + 1) * chunks / splits_;
    item.n = index % each / bands % to_.n;
    item.group = index % each / bands / to_.n;
    auto part = parts_.end() - 1;
    while (part->first_item > at) --part;
    item.d = part->d;
    item.h = part->h;
    item.plane = (at - part->first_item) / part->bands;
    item.first_row = (at - part->first_item) % part->bands * part->rows;
    item.rows = std::min(part->rows, part->h->positions - item.first_row);
    return item;
}

/// Calls body(tap of the axis) for those that read something at a position.
template <class Body>
static void each_tap_at(const AxisTaps& axis, std::int64_t position, std::int64_t side, Body&& body) {
    for (int t = 0; t < axis.count; ++t) {
        const std::int64_t at = position * axis.src_step + axis.offset[static_cast<std::size_t>(t)];
        if (at >= 0 && at < side) body(t, at);
    }
}

TapSums::Source TapSums::source_of(const Item& item, const View& from, char* copy) const {
    const std::int64_t size = bytes_of(from.type), row = packed_row_.elements(), area = from_.h * from_.w * src_block_;
    const std::int64_t block = (item.n * groups_ + item.group) * input_blocks_;
    const std::int64_t top = item.first_row * item.h->src_step + item.h->least_offset();
    const char* const first = from.as<const char>() + block * from_.d * area * size;
    if (reading_ == Reading::tensor) return {first + top * row * size, row, area, from_.d * area};
    const Type as = pairs_ ? Type::bf16 : Type::f32;
    if (reading_ == Reading::copy) {
        const std::int64_t plane = copy_rows_ * row;
        return {copy + (block * from_.d * plane + (top - copy_top_) * row) * bytes_of(as), row, plane, from_.d * plane};
    }
    const std::int64_t rows = (item.rows - 1) * item.h->src_step + item.h->spread() + 1;
    std::int64_t planes = 0;
    each_tap_at(*item.d, item.plane, from_.d, [&](int, std::int64_t) { ++planes; });
    char* const packed = thread_room<0>(input_blocks_ * planes * rows * row * bytes_of(as));
    char* to = packed;
    for (std::int64_t b = 0; b < input_blocks_; ++b)
        each_tap_at(*item.d, item.plane, from_.d, [&](int, std::int64_t z) {
            for (std::int64_t y = top; y < top + rows; ++y, to += row * bytes_of(as)) {
                const char* const at = first + ((b * from_.d + z) * area + y * from_.w * src_block_) * size;
                pack_row(y >= 0 && y < from_.h ? at : nullptr, from.type, from_.w, packed_row_, as, to);
            }
        });
    return {packed, row, rows * row, planes * rows * row};
}

void TapSums::pack_all(Stream stream, const View& from, char* copy) const {
    const Type as = pairs_ ? Type::bf16 : Type::f32;
    const std::int64_t row = packed_row_.elements() * bytes_of(as), area = from_.h * from_.w * src_block_;
    parallel_for(stream, from_.n * groups_ * input_blocks_ * from_.d, [&](std::int64_t plane) {
        char* to = copy + plane * copy_rows_ * row;
        for (std::int64_t y = copy_top_; y < copy_top_ + copy_rows_; ++y, to += row) {
            const char* const at =
                from.as<const char>() + (plane * area + y * from_.w * src_block_) * bytes_of(from.type);
            pack_row(y >= 0 && y < from_.h ? at : nullptr, from.type, from_.w, packed_row_, as, to);
        }
    });
}

void TapSums::list_taps(const Item& item, const Source& source, const AxisTaps& width, int blocks,
                        std::vector<Tap>& taps) const {
    taps.clear();
    const AxisTaps& h = *item.h;
    const std::int64_t top = h.least_offset();
    for (std::int64_t block = 0; block < input_blocks_; ++block) {
        std::int64_t planes = 0;
        each_tap_at(*item.d, item.plane, from_.d, [&](int d, std::int64_t z) {
            const std::int64_t plane = reading_ == Reading::bands ? planes++ : z;
            for (int y = 0; y < h.count; ++y)
                for (int x = 0; x < width.count; ++x) {
                    const auto i = static_cast<std::size_t>(d), j = static_cast<std::size_t>(y),
                               k = static_cast<std::size_t>(x);
                    const std::int64_t tap =
                        (item.d->tap[i] * options_.kernel.h + h.tap[j]) * options_.kernel.w + width.tap[k];
                    taps.push_back({block * source.block + plane * source.plane + (h.offset[j] - top) * source.row +
                                        packed_row_.start(width.offset[k]),
                                    (block * taps_ + tap) * weights_inputs() * blocks * block_});
                }
        });
    }
}

/// Whether a result in blocks of 16 f32 is too large to be found in a cache by whoever reads it.
bool TapSums::passes_caches(const View& to) const {
    return vectors_ == Vectors::avx512 && bytes_of(to_, to.type, to.layout) >= kUncachedBytes &&
           reinterpret_cast<std::uintptr_t>(to.data) % 64 == 0;
}

template <int B, class T>
void TapSums::run_chunk(const Item& item, const Source& source, const AxisTaps& width, const Chunk& chunk,
                        const std::vector<Tap>& taps, const void* packed, const TapFinish& finish,
                        const View& to) const {
    const std::int64_t size = pairs_ ? 2 : 4, step = item.h->src_step * source.row, wide = chunk.blocks * B;
    const std::int64_t blocks = padded_channels(to.layout, to_.c) / B;
    const std::int64_t first = item.group * output_blocks_ + chunk.first;
    const std::int64_t z = item.plane * item.d->dst_step + item.d->dst_first;
    float bias_of[kTapTileOutputs] = {};
    for (std::int64_t o = 0; finish.bias && o < wide; ++o)
        if (const std::int64_t c = first * B + o; c < to_.c) bias_of[o] = finish.bias[c];
    auto finish_row = finish.accumulate ? finish_plain<B, T, true> : finish_plain<B, T, false>;
    const bool past = B == 16 && to.type == Type::f32 && !finish.accumulate && !finish.form.wanted && passes_caches(to);
    BlockEpilogue<B> epilogues[kTapTileOutputs / B];
    for (int b = 0; finish.form.wanted && b < chunk.blocks; ++b)
        epilogues[b] = BlockEpilogue<B>(finish.form, finish.epilogue, finish.bias, first + b, to_.c);
    const auto finish_epilogue = finish.accumulate ? finish_after<B, T, true> : finish_after<B, T, false>;
    T* const beside = finish.form.beside ? finish.epilogue.beside.as<T>() : nullptr;
    if constexpr (B == 16 && std::is_same_v<T, float>)
        if (past) finish_row = finish_past_caches;
    const TapTileKind kind = kind_of(chunk);
    const TapTileSize largest = largest_tap_tile(kind, width.positions);
    const std::int64_t across = (width.positions + largest.voxels - 1) / largest.voxels;
    const std::int64_t down = (item.rows + largest.rows - 1) / largest.rows;
    TapTileInput input{};
    input.weights = static_cast<const char*>(packed) + first * B * input_blocks_ * weights_inputs() * taps_ * size;
    input.row = step;
    const auto taps_of_block = static_cast<std::int64_t>(taps.size()) / input_blocks_;
    const std::int64_t together = std::max<std::int64_t>(1, kWeightBytes / (src_block_ * taps_ * wide * size));
    const std::int64_t groups = (input_blocks_ + together - 1) / together;
    constexpr std::int64_t kSums = kTapTilePositions * kTapTileOutputs;
    // The sums of all tiles wait for the next group, if there is one.
    auto* const sums = reinterpret_cast<float*>(thread_room<1>((groups > 1 ? down * across : 1) * kSums * 4));
    for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t begin = g * input_blocks_ / groups * taps_of_block;
        input.taps = taps.data() + begin;
        input.count = (g + 1) * input_blocks_ / groups * taps_of_block - begin;
        input.add = g > 0;
        for (std::int64_t i = 0; i < down * across; ++i) {
            const std::int64_t k = i % across, y = i / across * item.rows / down;
            const std::int64_t x = k * width.positions / across, voxels = (k + 1) * width.positions / across - x;
            const std::int64_t rows = (i / across + 1) * item.rows / down - y;
            float* const at = sums + (groups > 1 ? i * kSums : 0);
            input.src = source.data + (y * step + x * src_block_) * size;
            tap_tile(kind, {static_cast<int>(rows), static_cast<int>(voxels)})(input, at);
            if (g + 1 < groups) continue;
            for (std::int64_t r = 0; r < rows; ++r)
                for (int b = 0; b < chunk.blocks; ++b) {
                    const std::int64_t row = ((item.n * blocks + first + b) * to_.d + z) * to_.h +
                                             (item.first_row + y + r) * item.h->dst_step + item.h->dst_first;
                    // Weights there are 0, which infinity and NaN make NaN.
                    if (const std::int64_t real = to_.c - (first + b) * B; real < B)
                        for (std::int64_t v = r * voxels; v < (r + 1) * voxels; ++v)
                            std::fill(at + v * wide + b * B + real, at + v * wide + (b + 1) * B, 0.0f);
                    const float* const from = at + r * voxels * wide + b * B;
                    const std::int64_t place = (row * to_.w + x * width.dst_step + width.dst_first) * B;
                    if (finish.form.wanted)
                        finish_epilogue(epilogues[b], from, voxels, wide, to.as<T>() + place,
                                        beside ? beside + place : nullptr);
                    else
                        finish_row(from, voxels, {wide, width.dst_step * B}, bias_of + b * B, to.as<T>() + place);
                }
        }
    }
    if (past) fence();
}

template <int B, class T>
void TapSums::run_item(const Item& item, const View& from, char* copy, const void* packed, const TapFinish& finish,
                       const View& to) const {
    thread_local std::vector<Tap> taps;
    const Source source = source_of(item, from, copy);
    for (const AxisTaps& width : w_) {
        int listed = 0;
        for (std::int64_t c = item.first_chunk; c < item.last_chunk; ++c) {
            const Chunk& chunk = chunks_[static_cast<std::size_t>(c)];
            if (chunk.blocks != listed) list_taps(item, source, width, listed = chunk.blocks, taps);
            run_chunk<B, T>(item, source, width, chunk, taps, packed, finish, to);
        }
    }
}

void TapSums::run(Stream stream, View from, const void* packed, void* room, const TapFinish& finish, View to) const {
    char* const copy = static_cast<char*>(room);
    if (reading_ == Reading::copy) pack_all(stream, from, copy);
    with_real(to.type, [&](auto real) {
        with_block(block_, [&](auto width) {
            if constexpr (width > 1)
                parallel_for(stream, items_, [&](std::int64_t i) {
                    run_item<width, decltype(real)>(item_at(i), from, copy, packed, finish, to);
                });
        });
    });
}

}  // namespace iwseg::cpu
