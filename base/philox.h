#pragma once

#include <cstdint>

namespace iwseg {

/// What Philox makes a block of random bits of, and the block.
struct PhiloxCounter {
    std::uint32_t words[4];
};

/// One block of Philox4x32-10 (Salmon et al., SC 2011). constexpr: kernels call it too.
constexpr PhiloxCounter philox(PhiloxCounter counter, std::uint32_t key0, std::uint32_t key1) {
    auto& c = counter.words;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
        counter = {{static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(b),
                    static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(a)}};
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
    return counter;
}

}  // namespace iwseg
