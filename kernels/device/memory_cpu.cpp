#include "kernels/device/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/bytes.h"
#include "base/error.h"
#include "kernels/cpu/instruction_set.h"

namespace iwseg::cpu {
namespace {

std::string processor_name() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown processor";
}

}  // namespace

std::int64_t free_memory() {
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

void* allocate(std::int64_t bytes) {
    if (bytes == 0) return nullptr;
    if (const std::int64_t free = free_memory(); bytes > free)
        throw InputError("the plan needs " + gigabytes(bytes) + " of memory, but " + gigabytes(free) +
                         " are free; a smaller patch or batch needs less");
    void* memory =
        ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw InputError("cannot allocate " + gigabytes(bytes) + " of memory: " + std::strerror(errno));
    // Advice only: without huge pages everything works, with more misses in the translation buffer.
    ::madvise(memory, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
    return memory;
}

void release(void* memory, std::int64_t bytes) noexcept {
    if (memory) ::munmap(memory, static_cast<std::size_t>(bytes));
}

void* allocate_host(std::int64_t bytes) {
    return allocate(bytes);
}
void release_host(void* memory, std::int64_t bytes) noexcept {
    release(memory, bytes);
}

void copy_to_device(Stream, const void* from, void* to, std::int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
void copy_to_host(Stream, const void* from, void* to, std::int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
void set_zero(Stream, void* memory, std::int64_t bytes) {
    if (bytes > 0) std::memset(memory, 0, static_cast<std::size_t>(bytes));
}

void synchronise(Stream) {}
Stream open_stream(ThreadPool* threads) {
    return {threads};
}
void close_stream(Stream) noexcept {}

bool begin_recording(Stream) {
    return false;
}
RecordedWork end_recording(Stream) {
    return {};
}
void replay(Stream, RecordedWork) {}
void release_recorded(RecordedWork) noexcept {}

std::string device_description() {
    return processor_name() + ", " + instructions().text;
}

}  // namespace iwseg::cpu
