#pragma once

#include <cstdint>
#include <span>

#include "kernels/device/declare.h"

namespace iwseg {

/// What becomes of elements on their way from where the host's copy left them to where a step reads them.
enum class StagedForm : std::uint8_t {
    as_they_are,
    bf16_to_f32,
    u16_to_label,  ///< i32; kShortIgnored becomes kIgnoredLabel
};

/// Stands for kIgnoredLabel among labels of 16 bits, which are below it.
constexpr std::uint16_t kShortIgnored = 0xFFFF;

/// Memory to be moved. Both ends are aligned to 16 bytes, and to 16 bytes of `from` are moved too what lies after.
struct StagedPart {
    const void* from = nullptr;
    void* to = nullptr;
    std::int64_t bytes = 0;  ///< of `from`
    StagedForm form = StagedForm::as_they_are;
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// Moves all parts, at most kMostStagedParts, in one launch.
    void take_staged(Stream stream, std::span<const StagedPart> parts);)

namespace iwseg {
constexpr int kMostStagedParts = 8;
}

namespace iwseg::cpu {
/// The other way, on the host: labels below kShortIgnored, or kIgnoredLabel.
void narrow_labels(Stream stream, const std::int32_t* labels, std::int64_t count, std::uint16_t* narrow);
}  // namespace iwseg::cpu
