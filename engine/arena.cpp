#include "engine/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/error.h"

namespace iwseg {
namespace {

std::string gigabytes(std::int64_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
    return text;
}

}  // namespace

std::int64_t available_memory() {
    std::int64_t available = std::numeric_limits<std::int64_t>::max();
    std::ifstream in("/proc/meminfo");
    for (std::string key; in >> key;) {
        if (std::int64_t kilobytes = 0; key == "MemAvailable:" && in >> kilobytes) available = kilobytes * 1024;
    }
    // A container's limit, where there is one, is what counts.
    std::int64_t limit = 0, used = 0;
    if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit && std::ifstream("/sys/fs/cgroup/memory.current") >> used)
        available = std::min(available, std::max<std::int64_t>(0, limit - used));
    return available;
}

Arena::Arena(std::int64_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    if (const std::int64_t free = available_memory(); bytes > free)
        throw InputError("the plan needs " + gigabytes(bytes) + " of memory, but " + gigabytes(free) +
                         " are free; a smaller patch or batch needs less");
    void* memory = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw InputError("cannot allocate " + gigabytes(bytes) + " of memory: " + std::strerror(errno));
    // Advice only: without huge pages everything works, with more misses in the translation buffer.
    ::madvise(memory, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
    data_ = static_cast<char*>(memory);
}

Arena::~Arena() {
    if (data_) ::munmap(data_, static_cast<std::size_t>(bytes_));
}

}  // namespace iwseg
