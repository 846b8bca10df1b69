#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace iwseg::simt::executor {

/// The shared memory of the block that runs: arrays one after another in memory of its own, so that an address of it is
/// known from any other.
class SharedMemory {
  public:
    /// Of a block, on every card without opting in to more.
    static constexpr std::size_t kLimit = 48 << 10;

    /// The array of that name, filled with 0xFF when it is new; 64 bytes of 0xA5 lie past it. Null where the block's
    /// arrays would take more than kLimit.
    void* array(const void* name, std::size_t bytes);
    std::size_t bytes() const { return bytes_; }
    void clear();

    bool holds(std::uintptr_t at) const { return at - reinterpret_cast<std::uintptr_t>(memory_.get()) < kRange; }
    /// True where all of it lies in one array.
    bool contains(std::uintptr_t at, std::size_t bytes) const;
    /// Where an address that lies in no array is: "past a shared array of 128 bytes".
    std::string describe(std::uintptr_t at) const;
    /// The bytes of an array past which something was written; 0 where there is none.
    std::size_t overrun() const;

  private:
    static constexpr std::size_t kSentinel = 64, kRange = std::size_t{1} << 18, kAlignment = 128;
    struct Array {
        const void* name;
        std::uintptr_t first;
        std::size_t bytes;
    };
    struct Free {
        void operator()(char* memory) const;
    };

    std::unique_ptr<char, Free> memory_{make()};
    std::size_t used_ = kAlignment, bytes_ = 0;
    std::vector<Array> arrays_;

    static char* make();
};

}  // namespace iwseg::simt::executor
