#include <stdexcept>

#include "kernels/convolution/weights.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device/dispatch.h"

// The CPU's own convolutions pack for themselves; this is what other backends' packed form is.
namespace iwseg::cpu {
namespace {

/// Calls body(plain, packed) for the places of each weight in both forms.
template <class Body>
void each_place(const WeightShape& s, Body&& body) {
    for (std::int64_t o = 0; o < s.outputs; ++o)
        for (std::int64_t c = 0; c < s.inputs; ++c)
            for (std::int64_t tap = 0; tap < s.taps; ++tap)
                body((o * s.inputs + c) * s.taps + tap, (o * s.taps + tap) * s.inputs + c);
}

}  // namespace

void pack_all_weights(Stream, std::span<const PackedArray> arrays, Type type) {
    with_real(type, [&](auto real) {
        for (const PackedArray& one : arrays)
            each_place(one.shape, [&](std::int64_t plain, std::int64_t packed) {
                store(static_cast<decltype(real)*>(one.packed)[packed], one.plain[plain]);
            });
    });
}

void unpack_all_weights(Stream, std::span<const PackedArray> arrays, Type type) {
    with_real(type, [&](auto real) {
        for (const PackedArray& one : arrays)
            each_place(one.shape, [&](std::int64_t plain, std::int64_t packed) {
                one.plain[plain] = to_f32(static_cast<const decltype(real)*>(one.packed)[packed]);
            });
    });
}

void add_bias(Stream stream, const float* bias, View dst) {
    const Blocks blocks(dst);
    with_real(dst.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            parallel_for(stream, blocks.rows(), [&](std::int64_t row) {
                float shift[B] = {};  // 0 for channels that only pad
                for (int b = 0; b < B; ++b)
                    if (const std::int64_t c = row % blocks.blocks * B + b; c < dst.shape.c) shift[b] = bias[c];
                auto* values = dst.as<decltype(real)>() + row * blocks.voxels * B;
                for (std::int64_t v = 0; v < blocks.voxels; ++v)
                    for (int b = 0; b < B; ++b) store(values[v * B + b], to_f32(values[v * B + b]) + shift[b]);
            });
        });
    });
}

}  // namespace iwseg::cpu
