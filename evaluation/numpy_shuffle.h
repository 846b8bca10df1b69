#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace iwseg {

/// Shuffles as numpy.random.RandomState(seed).shuffle does: the Mersenne Twister seeded by one integer, Fisher-Yates
/// from the end, each index drawn by masking 32 bits and drawing again where the result is too large.
class NumpyShuffle {
  public:
    explicit NumpyShuffle(std::uint32_t seed) : generator_(seed) {}

    template <class T>
    void shuffle(std::vector<T>& values) {
        for (std::size_t last = values.size(); last-- > 1;) std::swap(values[last], values[at_most(last)]);
    }

    /// A whole number in [0, highest], highest below 2^32; 0 draws nothing.
    std::size_t at_most(std::size_t highest) {
        if (highest == 0) return 0;
        std::size_t mask = highest;
        for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
        for (;;) {
            const std::size_t value = generator_() & mask;
            if (value <= highest) return value;
        }
    }

  private:
    std::mt19937 generator_;
};

}  // namespace iwseg
