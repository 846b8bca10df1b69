#include <cstring>

#include "kernels/components/ignored.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device/bf16.h"
#include "kernels/device/staged.h"

namespace iwseg::cpu {
namespace {

template <class From, class To, class Widen>
void widen_all(const StagedPart& part, Widen&& widen) {
    const auto* from = static_cast<const From*>(part.from);
    auto* to = static_cast<To*>(part.to);
    const std::int64_t count = part.bytes / static_cast<std::int64_t>(sizeof(From));
    for (std::int64_t i = 0; i < count; ++i) to[i] = widen(from[i]);
}

}  // namespace

void take_staged(Stream, std::span<const StagedPart> parts) {
    for (const StagedPart& part : parts) switch (part.form) {
            case StagedForm::as_they_are:
                std::memcpy(part.to, part.from, static_cast<std::size_t>(part.bytes));
                break;
            case StagedForm::bf16_to_f32:
                widen_all<Bf16, float>(part, [](Bf16 value) { return to_f32(value); });
                break;
            case StagedForm::u16_to_label:
                widen_all<std::uint16_t, std::int32_t>(part, [](std::uint16_t value) {
                    return value == kShortIgnored ? kIgnoredLabel : std::int32_t{value};
                });
                break;
        }
}

void narrow_labels(Stream stream, const std::int32_t* labels, std::int64_t count, std::uint16_t* narrow) {
    constexpr std::int64_t kPart = 1 << 16;
    parallel_for(stream, (count + kPart - 1) / kPart, [&](std::int64_t part) {
        const std::int64_t end = std::min(count, (part + 1) * kPart);
        // kIgnoredLabel is -1, whose lower half is kShortIgnored.
        for (std::int64_t i = part * kPart; i < end; ++i) narrow[i] = static_cast<std::uint16_t>(labels[i]);
    });
}
static_assert(static_cast<std::uint16_t>(kIgnoredLabel) == kShortIgnored);

}  // namespace iwseg::cpu
