#pragma once

#include <cstdint>
#include <vector>

#include "kernels/convolution/taps/axis_taps.h"
#include "kernels/device/view.h"

/// Rows of a source as tiles read them: with the zeros around, and so that neighbouring positions lie side by side at
/// any stride.
namespace iwseg::cpu {

/// Of S channels: (phases, length, S). Phase p holds what lies at first + p, first + p + step, ... of a row.
struct PackedRow {
    std::int64_t first = 0, step = 1, phases = 1, length = 1, block = 1;

    /// Of all that these taps read: phases of one product, which have their step in common.
    PackedRow(const std::vector<AxisTaps>& width, std::int64_t channels);
    std::int64_t elements() const { return phases * length * block; }
    /// Where a tap finds the first position's element.
    std::int64_t start(std::int64_t offset) const {
        return ((offset - first) % step * length + (offset - first) / step) * block;
    }
    /// Whether a row of a source lies so by itself.
    bool is_row_of(std::int64_t width) const { return first == 0 && step == 1 && length == width; }
};

/// to = a row of a source of f32 or bf16 as f32, or of bf16 as it is; null: of zeros.
void pack_row(const void* row, Type from, std::int64_t width, const PackedRow& form, Type as, void* to);

}  // namespace iwseg::cpu
