#include "tests/simt/simt_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <new>

#include "tests/simt/simt_hooks.h"

namespace iwseg::simt {
namespace {

constexpr std::size_t kSentinel = 256, kWhole = 4096;
constexpr unsigned char kMark = 0xA5;

/// Of a buffer with its sentinel, in whole pages.
std::size_t extent_of(std::size_t bytes) {
    return (bytes + kSentinel + kWhole - 1) / kWhole * kWhole;
}

DeviceMemory the_memory;

bool is_marked_behind(const DeviceBuffer& buffer) {
    const auto* behind = reinterpret_cast<const unsigned char*>(buffer.first + buffer.bytes);
    return std::all_of(behind, behind + kSentinel, [](unsigned char byte) { return byte == kMark; });
}

}  // namespace

void DeviceBuffer::mark_written(std::uintptr_t at, std::size_t count) {
    if (written.empty()) return;
    for (std::size_t i = at - first, end = i + count; i < end;) {
        const std::size_t here = std::min<std::size_t>(8 - i % 8, end - i);
        written[i / 8] |= static_cast<std::uint8_t>(((1u << here) - 1) << i % 8);
        i += here;
    }
}

void DeviceMemory::reserve() {
    void* range = ::mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) throw std::bad_alloc();
    first_ = reinterpret_cast<std::uintptr_t>(range);
    next_ = first_ + kPage;
}

void* DeviceMemory::allocate(std::size_t bytes) {
    if (next_ == 0) reserve();
    const std::size_t extent = extent_of(bytes);
    if (extent > first_ + kRange - next_) throw std::bad_alloc();
    void* memory = reinterpret_cast<void*>(next_);
    if (::mprotect(memory, extent, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    std::memset(memory, 0xFF, bytes);
    std::memset(static_cast<char*>(memory) + bytes, kMark, extent - bytes);
    DeviceBuffer& buffer = buffers_[next_];
    buffer = {next_, bytes, {}};
    if (executor::has_hooks()) buffer.written.resize((bytes + 7) / 8);
    next_ += extent + kPage;
    return memory;
}

bool DeviceMemory::release(void* memory) {
    const auto at = buffers_.find(reinterpret_cast<std::uintptr_t>(memory));
    if (at == buffers_.end()) return false;
    const bool intact = is_marked_behind(at->second);
    const std::size_t extent = extent_of(at->second.bytes);
    ::madvise(memory, extent, MADV_DONTNEED);
    ::mprotect(memory, extent, PROT_NONE);
    released_[at->first] = at->second.bytes;
    buffers_.erase(at);
    std::fill(std::begin(found_), std::end(found_), Found{});
    return intact;
}

bool DeviceMemory::is_intact() const {
    return std::all_of(buffers_.begin(), buffers_.end(), [](const auto& one) { return is_marked_behind(one.second); });
}

DeviceBuffer* DeviceMemory::look_up(std::uintptr_t at) {
    const auto next = buffers_.upper_bound(at);
    if (next == buffers_.begin()) return nullptr;
    DeviceBuffer& buffer = std::prev(next)->second;
    if (at - buffer.first >= extent_of(buffer.bytes)) return nullptr;
    found_[at / kPage % kFound] = {at / kPage, &buffer};
    return at - buffer.first < buffer.bytes ? &buffer : nullptr;
}

std::string DeviceMemory::describe(std::uintptr_t at) const {
    const auto bytes = [](std::size_t count) { return std::to_string(count) + " bytes"; };
    if (const auto next = released_.upper_bound(at); next != released_.begin())
        if (const auto& [first, size] = *std::prev(next); at - first < size)
            return bytes(at - first) + " into a buffer of " + bytes(size) + " that was released";
    const auto next = buffers_.upper_bound(at);
    const bool has_before = next != buffers_.begin(), has_next = next != buffers_.end();
    if (!has_before && !has_next) return "in device memory without a buffer";
    const DeviceBuffer& before = has_before ? std::prev(next)->second : next->second;
    const std::size_t behind = has_before ? at - before.first - before.bytes : 0;
    if (has_next && (!has_before || next->first - at < behind))
        return bytes(next->first - at) + " before a buffer of " + bytes(next->second.bytes);
    return bytes(behind) + " past a buffer of " + bytes(before.bytes);
}

void DeviceMemory::mark_written(const void* memory, std::size_t bytes) {
    const auto at = reinterpret_cast<std::uintptr_t>(memory);
    if (DeviceBuffer* buffer = find(at)) buffer->mark_written(at, std::min(bytes, buffer->first + buffer->bytes - at));
}

DeviceMemory& device_memory() {
    return the_memory;
}

}  // namespace iwseg::simt
