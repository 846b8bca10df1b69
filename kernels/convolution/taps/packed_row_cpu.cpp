#include "kernels/convolution/taps/packed_row.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

Bf16 as_stored(Bf16 value, Bf16) {
    return value;
}
template <class T>
float as_stored(T value, float) {
    return to_f32(value);
}

template <int S, class From, class To>
IWSEG_VECTOR_CLONES void pack(const From* row, std::int64_t width, const PackedRow& form, To* to) {
    for (std::int64_t p = 0; p < form.phases; ++p, to += form.length * S) {
        // Places of this phase that lie inside of the row.
        const std::int64_t at = form.first + p, step = form.step;
        const std::int64_t begin = std::min(form.length, at < 0 ? (-at + step - 1) / step : 0);
        const std::int64_t end = std::clamp((width - at + step - 1) / step, begin, form.length);
        for (std::int64_t i = 0; i < begin * S; ++i) to[i] = To{};
        for (std::int64_t i = begin; i < end; ++i)
            for (int c = 0; c < S; ++c) to[i * S + c] = as_stored(row[(at + i * step) * S + c], To{});
        for (std::int64_t i = end * S; i < form.length * S; ++i) to[i] = To{};
    }
}

}  // namespace

PackedRow::PackedRow(const std::vector<AxisTaps>& width, std::int64_t channels) : block(channels) {
    std::int64_t least = std::numeric_limits<std::int64_t>::max(), last = 0, spread = 0;
    for (const AxisTaps& taps : width) {
        if (taps.count == 0) continue;
        step = taps.src_step;
        least = std::min(least, taps.least_offset());
        last = std::max(last, (taps.positions - 1) * step + taps.least_offset() + taps.spread());
        spread = std::max(spread, taps.spread());
    }
    if (least > last) return;  // no taps at all
    first = least;
    phases = std::min(step, spread + 1);
    length = (last - first) / step + 1;
}

void pack_row(const void* row, Type from, std::int64_t width, const PackedRow& form, Type as, void* to) {
    if (!row) width = std::min<std::int64_t>(form.first, 0);  // nothing is inside
    with_block(form.block, [&](auto channels) {
        constexpr int S = channels;
        if (as == Type::bf16)
            pack<S>(static_cast<const Bf16*>(row), width, form, static_cast<Bf16*>(to));
        else if (from == Type::bf16)
            pack<S>(static_cast<const Bf16*>(row), width, form, static_cast<float*>(to));
        else
            pack<S>(static_cast<const float*>(row), width, form, static_cast<float*>(to));
    });
}

}  // namespace iwseg::cpu
