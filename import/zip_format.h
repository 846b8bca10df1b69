#pragma once

#include <cstdint>

/// What archives are made of, after APPNOTE 6.3, sections 4.3 and 4.5: the marks that records begin with, their bytes
/// without names and other parts of any length, and what stands where a number has more than its bits.
namespace iwseg::zip {

constexpr std::uint32_t kLocalMark = 0x04034b50, kCentralMark = 0x02014b50, kEndMark = 0x06054b50,
                        kEnd64Mark = 0x06064b50, kLocatorMark = 0x07064b50;
constexpr std::uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20;
constexpr std::uint64_t kBeyond32 = 0xFFFFFFFF, kBeyond16 = 0xFFFF;
constexpr std::uint64_t kWideExtra = 1;  ///< the extra field that holds what is beyond 32 bits
constexpr int kStored = 0, kDeflated = 8;

}  // namespace iwseg::zip
