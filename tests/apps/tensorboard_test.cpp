#include "apps/training/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "base/atomic_file.h"

namespace iwseg {
namespace {

template <class T>
T number_at(const std::string& bytes, std::size_t place) {
    T value;
    std::memcpy(&value, bytes.data() + place, sizeof value);
    return value;
}

/// The payloads of a TFRecord file, each checked against both of its checksums.
std::vector<std::string> records_of(const std::string& bytes) {
    std::vector<std::string> records;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto length = number_at<std::uint64_t>(bytes, at);
        EXPECT_EQ(number_at<std::uint32_t>(bytes, at + 8), masked_crc32c(bytes.substr(at, 8)));
        records.push_back(bytes.substr(at + 12, length));
        EXPECT_EQ(number_at<std::uint32_t>(bytes, at + 12 + length), masked_crc32c(records.back()));
        at += 16 + length;
    }
    return records;
}

TEST(Crc32c, AgreesWithPublishedVectors) {
    // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    std::string ascending(32, '\0');
    for (int i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
    EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
    EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
    EXPECT_EQ(crc32c(ascending), 0x46DD794Eu);
    EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventWriter, WritesOneRecordAStepAfterVersionAndStart) {
    const auto folder = std::filesystem::path(testing::TempDir()) / "events";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    {
        EventWriter events(folder, 300);
        events.add_scalars(300, {{"loss", 0.5f}, {"learning_rate", 0.01f}});
        events.add_scalars(301, {{"loss", 0.25f}});
    }
    const auto file = std::filesystem::directory_iterator(folder)->path();
    EXPECT_NE(file.filename().string().find("tfevents"), std::string::npos);
    const std::vector<std::string> records = records_of(read_text(file));
    ASSERT_EQ(records.size(), 4u);
    // Each begins with wall_time (field 1, eight bytes) and step (field 2, a varint): 300 is AC 02.
    const auto rest = [&](int i, std::size_t step_bytes) { return records[i].substr(9 + 1 + step_bytes); };
    EXPECT_EQ(rest(0, 1), std::string("\x1a\x0d") + "brain.Event:2");
    EXPECT_EQ(rest(1, 2), std::string("\x3a\x02\x08\x01"));
    EXPECT_EQ(records[2].substr(9, 3), "\x10\xac\x02");
    const std::string half("\x00\x00\x00\x3f", 4), hundredth("\x0a\xd7\x23\x3c", 4);
    EXPECT_EQ(rest(2, 2), std::string("\x2a\x23") + "\x0a\x0b\x0a\x04loss\x15" + half +
                              "\x0a\x14\x0a\x0dlearning_rate\x15" + hundredth);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace iwseg
