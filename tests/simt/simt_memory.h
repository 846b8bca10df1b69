#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

// The device memory of the simt backend: buffers in a range of addresses of their own, none of which is given out
// twice. So any address of the range is known to lie in a buffer, behind one, in one that was released, or in none, and
// a pointer that has gone astray does not meet the heap.
namespace iwseg::simt {

struct DeviceBuffer {
    std::uintptr_t first = 0;
    std::size_t bytes = 0;
    std::vector<std::uint8_t> written;  ///< a bit a byte; empty where all of it counts as written

    void mark_written(std::uintptr_t at, std::size_t count);
    bool is_written(std::uintptr_t at, std::size_t count) const {
        if (written.empty()) return true;
        for (std::size_t i = at - first, end = i + count; i < end;) {
            const std::size_t here = 8 - i % 8 < end - i ? 8 - i % 8 : end - i;
            const unsigned wanted = ((1u << here) - 1) << i % 8;
            if ((written[i / 8] & wanted) != wanted) return false;
            i += here;
        }
        return true;
    }
};

class DeviceMemory {
  public:
    /// Buffers start at multiples of 4096 and are filled with 0xFF, which reads as NaN. Behind each lie at least 256
    /// bytes of 0xA5. Throws std::bad_alloc.
    void* allocate(std::size_t bytes);
    /// False where a byte behind the buffer is no longer as it was. Its addresses are not used again.
    bool release(void* memory);
    /// False where a byte behind any buffer is no longer as it was.
    bool is_intact() const;

    bool holds(std::uintptr_t at) const { return at - first_ < kRange; }
    /// The buffer that holds the address; null where none does.
    DeviceBuffer* find(std::uintptr_t at) {
        const Found& found = found_[at / kPage % kFound];
        if (found.page != at / kPage) return look_up(at);
        return at - found.buffer->first < found.buffer->bytes ? found.buffer : nullptr;
    }
    /// Where an address of the range lies: "0 bytes past a buffer of 400 bytes".
    std::string describe(std::uintptr_t at) const;
    /// Notes what something else than a kernel wrote: a copy, a library.
    void mark_written(const void* memory, std::size_t bytes);

  private:
    static constexpr std::size_t kRange = std::size_t{1} << 42, kPage = 4096, kFound = 64;

    void reserve();
    DeviceBuffer* look_up(std::uintptr_t at);

    std::uintptr_t first_ = ~std::uintptr_t{0} - kRange, next_ = 0;
    std::map<std::uintptr_t, DeviceBuffer> buffers_;
    std::map<std::uintptr_t, std::size_t> released_;
    struct Found {
        std::uintptr_t page = 0;
        DeviceBuffer* buffer = nullptr;
    };
    Found found_[kFound];  ///< by page, as no two buffers share one
};

DeviceMemory& device_memory();

}  // namespace iwseg::simt
