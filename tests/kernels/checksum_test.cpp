#include "kernels/device/checksum.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "tests/simt/simt_backend.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

std::uint64_t checksum(const std::vector<std::uint16_t>& values) {
    // On the device, where accesses are looked at.
    const KernelArray<std::uint16_t> memory(simt::backend(), values);
    const KernelArray<std::uint64_t> sum(simt::backend(), 1);
    simt::add_checksum({}, memory.data(), static_cast<std::int64_t>(values.size()) * 2, sum.data());
    return sum.host()[0];
}

TEST(Checksum, IsTheSameForTheSameBytesOnAnySchedule) {
    std::mt19937 random(std::random_device{}());
    std::vector<std::uint16_t> values(1 + random() % 3000);
    for (auto& value : values) value = static_cast<std::uint16_t>(random());
    const std::uint64_t expected = checksum(values);
    for (std::uint64_t seed = 1; seed < 5; ++seed) {
        simt::schedule_by(seed);
        EXPECT_EQ(checksum(values), expected);
    }
    simt::schedule_by(0);
}

TEST(Checksum, IsAnotherForAnyBitAnyExchangeAndAnyLength) {
    std::mt19937 random(std::random_device{}());
    std::vector<std::uint16_t> values(257);
    for (auto& value : values) value = static_cast<std::uint16_t>(random());
    std::set<std::uint64_t> seen{checksum(values)};
    std::size_t changes = 0;
    const auto expect_new = [&](const std::vector<std::uint16_t>& changed) {
        ++changes;
        seen.insert(checksum(changed));
    };
    for (std::size_t i = 0; i < values.size(); i += 16)
        for (int bit = 0; bit < 16; ++bit) {
            std::vector<std::uint16_t> changed = values;
            changed[i] ^= static_cast<std::uint16_t>(1u << bit);
            expect_new(changed);
        }
    std::vector<std::uint16_t> exchanged = values;
    exchanged[0] = values[0] ^ 1u, exchanged[256] = values[0];
    expect_new(exchanged);
    std::swap(exchanged[0], exchanged[256]);
    expect_new(exchanged);
    expect_new(std::vector<std::uint16_t>(values.begin(), values.end() - 1));
    EXPECT_EQ(seen.size(), changes + 1);
}

TEST(Checksum, TellsNansAndZerosApartByTheirBits) {
    const auto of = [](float value) {
        std::vector<std::uint16_t> bits(2);
        std::memcpy(bits.data(), &value, 4);
        return checksum(bits);
    };
    EXPECT_NE(of(0.0f), of(-0.0f));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(of(nan), of(nan)) << "where == of floats would say that two runs differ";
}

TEST(Checksum, OfAnOddNumberOfBytesIsRefused) {
    std::uint64_t sum = 0;
    EXPECT_THROW(simt::add_checksum({}, &sum, 3, &sum), std::invalid_argument);
}

}  // namespace
}  // namespace iwseg
