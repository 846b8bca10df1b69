#include "tests/simt/simt_shared.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace iwseg::simt::executor {

char* SharedMemory::make() {
    void* memory = std::aligned_alloc(kAlignment, kRange);
    if (!memory) throw std::bad_alloc();
    return static_cast<char*>(memory);
}

void SharedMemory::Free::operator()(char* memory) const {
    std::free(memory);
}

void* SharedMemory::array(const void* name, std::size_t bytes) {
    for (const Array& array : arrays_)
        if (array.name == name) return reinterpret_cast<void*>(array.first);
    if (bytes_ + bytes > kLimit) {
        bytes_ += bytes;
        return nullptr;
    }
    char* memory = memory_.get() + used_;
    std::memset(memory, 0xFF, bytes);
    std::memset(memory + bytes, 0xA5, kSentinel);
    arrays_.push_back({name, reinterpret_cast<std::uintptr_t>(memory), bytes});
    bytes_ += bytes;
    used_ += (bytes + kSentinel + kAlignment - 1) / kAlignment * kAlignment;
    return memory;
}

void SharedMemory::clear() {
    arrays_.clear();
    used_ = kAlignment;
    bytes_ = 0;
}

bool SharedMemory::contains(std::uintptr_t at, std::size_t bytes) const {
    return std::any_of(arrays_.begin(), arrays_.end(), [&](const Array& one) {
        return at - one.first < one.bytes && at - one.first + bytes <= one.bytes;
    });
}

std::string SharedMemory::describe(std::uintptr_t at) const {
    const Array* before = nullptr;
    for (const Array& one : arrays_)
        if (one.first <= at) before = &one;
    if (!before) return "before the shared arrays";
    return "past a shared array of " + std::to_string(before->bytes) + " bytes";
}

std::size_t SharedMemory::overrun() const {
    for (const Array& one : arrays_) {
        const auto* behind = reinterpret_cast<const unsigned char*>(one.first + one.bytes);
        if (std::any_of(behind, behind + kSentinel, [](unsigned char byte) { return byte != 0xA5; })) return one.bytes;
    }
    return 0;
}

}  // namespace iwseg::simt::executor
