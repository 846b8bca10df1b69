#include "kernels/convolution/amx/pass_terms.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {
namespace {

constexpr int kBlock = 16, kMostTaps = 7 * 7 * 7;

IWSEG_VECTOR_CLONES void round_weights(const float* weights, std::int64_t count, Bf16* to) {
    for (std::int64_t i = 0; i < count; ++i) store(to[i], weights[i]);
}

/// Adds the terms that one row of taps has.
void add_row(const Slab& slab, std::int64_t group, int offset_d, int offset_h, int first_tap, PassClass& to) {
    const auto add = [&](int j, const TermWeights& weights) {
        to.terms.push_back({slab.place(group, offset_d, offset_h, to.w.offset + j),
                            static_cast<std::int64_t>(to.terms.size()) * kTileBytes});
        to.weights.push_back(weights);
    };
    const auto tap = [&](int j) { return first_tap + to.w.tap(j); };
    const int taps = to.w.taps;
    if (!slab.paired) {
        for (int j = 0; j < taps; ++j) add(j, {{tap(j), tap(j)}, {2 * group * kBlock, (2 * group + 1) * kBlock}});
        return;
    }
    for (int j = 0; j + 1 < taps; j += 2) add(j, {{tap(j), tap(j + 1)}, {0, 0}});
    // The last of an odd row is paired with the one before, not with the voxel after it: that one may be infinite, and
    // is none of this result's.
    if (taps % 2 == 1) add(taps - 2, {{-1, tap(taps - 1)}, {0, 0}});
}

}  // namespace

std::vector<PassClass> classes_of(const Slab& slab, int taps_h, int taps_w, std::int64_t output_blocks) {
    std::vector<PassClass> classes;
    std::int64_t packed = 0;
    for (const AxisClass& d : slab.d.classes)
        for (const AxisClass& h : slab.h.classes)
            for (const AxisClass& w : slab.w.classes) {
                PassClass one{d, h, w, {}, {}, packed};
                for (int i = 0; i < d.taps; ++i)
                    for (std::int64_t group = 0; group < slab.groups; ++group)
                        for (int j = 0; j < h.taps; ++j)
                            add_row(slab, group, d.offset + i, h.offset + j, (d.tap(i) * taps_h + h.tap(j)) * taps_w,
                                    one);
                packed += output_blocks * one.block_bytes();
                classes.push_back(std::move(one));
            }
    return classes;
}

void pack_tiles(const PassClass& of, const PlainWeights& plain, std::int64_t output_block, char* packed) {
    const std::int64_t first = output_block * kBlock, taps = plain.taps;
    std::fill_n(packed, of.block_bytes(), char{0});
    // Of one output, and the inputs of a group of terms: (32, taps).
    alignas(64) Bf16 rounded[(2 * kBlock + 1) * kMostTaps];
    for (std::int64_t channel = 0; channel < plain.inputs; channel += 2 * kBlock) {
        const std::int64_t inputs = std::min<std::int64_t>(2 * kBlock, plain.inputs - channel);
        for (std::int64_t o = 0; o < std::min<std::int64_t>(kBlock, plain.outputs - first); ++o) {
            const float* from = plain.weights + (first + o) * plain.of_output + channel * plain.of_input;
            if (plain.of_input == taps)
                round_weights(from, inputs * taps, rounded);
            else
                for (std::int64_t i = 0; i < inputs; ++i)
                    round_weights(from + i * plain.of_input, taps, rounded + i * taps);
            std::fill_n(rounded + inputs * taps, taps, Bf16{});  // the pair of the last of an odd number
            for (std::size_t t = 0; t < of.weights.size(); ++t) {
                if (of.weights[t].channel[0] != channel) continue;
                char* const tile = packed + static_cast<std::int64_t>(t) * kTileBytes + o * 4;
                for (int half = 0; half < 2; ++half) {
                    const std::int64_t begin = of.weights[t].channel[half] - channel;
                    const std::int64_t end = std::min<std::int64_t>(begin + kBlock, inputs);
                    if (of.weights[t].tap[half] < 0) continue;
                    const Bf16* two = rounded + begin * taps + of.weights[t].tap[half];
                    for (std::int64_t i = begin; i < end; i += 2, two += 2 * taps) {
                        const Bf16 pair[2] = {two[0], two[taps]};
                        std::memcpy(tile + (half * 8 + (i - begin) / 2) * kTileRow, pair, sizeof(pair));
                    }
                }
            }
        }
    }
}

}  // namespace iwseg::cpu
