#pragma once

#include <array>
#include <cstdint>

namespace iwseg {

/// What a stream of random numbers is for. Two streams that differ in any part of their key are independent.
enum class Purpose : std::uint32_t {
    weights = 1,
    sampling = 2,
    augmentation = 3,
    split = 4,
    phantom = 5,
    bootstrap = 6,
    dropout = 7  ///< kDropoutPurpose of kernels/dropout.h, where masks are drawn
};

/// Counter-based random numbers, Philox4x32-10 (Salmon et al., SC 2011), keyed by (seed, step, sample, purpose).
/// Nothing to save, nothing that depends on thread count: the same key gives the same numbers anywhere.
class Random {
  public:
    Random(std::uint64_t seed, std::uint64_t step, std::uint32_t sample, Purpose purpose);

    std::uint32_t bits();                  ///< 32 random bits
    double uniform();                      ///< in [0, 1), 53 bits
    std::uint64_t below(std::uint64_t n);  ///< in [0, n), without bias; n > 0
    double normal();                       ///< mean 0, deviation 1

  private:
    void refill();

    std::array<std::uint32_t, 4> counter_;
    std::array<std::uint32_t, 2> key_;
    std::array<std::uint32_t, 4> block_{};
    int used_ = 4;
};

/// One Philox4x32-10 block; exposed for the published known-answer vectors.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

}  // namespace iwseg
