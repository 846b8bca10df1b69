#include "engine/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/error.h"

namespace iwseg {

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
        throw InputError(fmt::format("the plan needs {:.2f} GB of memory, but {:.2f} GB are free; a smaller patch or batch "
                                     "needs less",
                                     static_cast<double>(bytes) / 1e9, static_cast<double>(free) / 1e9));
    void* memory = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw InputError(fmt::format("cannot allocate {:.2f} GB of memory: {}", static_cast<double>(bytes) / 1e9,
                                     std::strerror(errno)));
    // Advice only: without huge pages everything works, with more misses in the translation buffer.
    ::madvise(memory, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
    data_ = static_cast<char*>(memory);
}

Arena::~Arena() {
    if (data_) ::munmap(data_, static_cast<std::size_t>(bytes_));
}

}  // namespace iwseg
