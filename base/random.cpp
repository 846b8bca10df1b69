#include "base/random.h"

#include <cmath>
#include <numbers>

#include "base/philox.h"

namespace iwseg {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
    return std::to_array(philox({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]).words);
}

// The key holds the seed; the counter holds step (its low 32 bits and 8 more beside the purpose), sample, and the
// number of the block. 2^40 steps are enough for any run.
Random::Random(std::uint64_t seed, std::uint64_t step, std::uint32_t sample, Purpose purpose)
    : counter_{0, sample, static_cast<std::uint32_t>(step),
               static_cast<std::uint32_t>(purpose) << 8 | static_cast<std::uint32_t>(step >> 32 & 0xFF)},
      key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)} {}

void Random::refill() {
    block_ = philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
}

std::uint32_t Random::bits() {
    if (used_ == 4) refill();
    return block_[used_++];
}

double Random::uniform() {
    const std::uint64_t high = bits() >> 5, low = bits() >> 6;
    return static_cast<double>(high << 26 | low) * 0x1p-53;
}

std::uint64_t Random::below(std::uint64_t n) {
    const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % n;
    for (;;) {
        const std::uint64_t value = std::uint64_t{bits()} << 32 | bits();
        if (value < limit) return value % n;
    }
}

double Random::normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace iwseg
