#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include "tests/simt/simt_backend.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/simt/simt_memory.h"

namespace iwseg::simt {
namespace {

bool overrun = false;  ///< found while releasing

/// A queued copy between host and device. As on a GPU, what is copied to the host arrives when it is waited for, and
/// what is copied to the device must not have changed until then.
struct Transfer {
    std::uint64_t number;
    const char* from;
    char* to;  ///< null: to the device, which has it
    std::vector<char> bytes;
};
std::deque<Transfer> transfers;
std::uint64_t transfers_begun = 0;

void settle(std::uint64_t last) {
    for (; !transfers.empty() && transfers.front().number <= last; transfers.pop_front()) {
        const Transfer& one = transfers.front();
        if (one.to)
            std::memcpy(one.to, one.bytes.data(), one.bytes.size());
        else if (std::memcmp(one.from, one.bytes.data(), one.bytes.size()) != 0)
            throw std::logic_error("host memory was changed before its copy to the device was waited for");
    }
}

void begin_transfer(const void* from, void* to_host, std::int64_t bytes) {
    const char* first = static_cast<const char*>(from);
    transfers.push_back({++transfers_begun, first, static_cast<char*>(to_host), {first, first + bytes}});
}

}  // namespace

void check_sentinels() {
    if (overrun || !device_memory().is_intact()) {
        overrun = false;
        throw std::logic_error("a kernel wrote past a buffer of device memory");
    }
}

MatrixLoads matrix_loads() {
    return {executor::launch_count().matrices, executor::launch_count().matrix_cycles};
}

void schedule_by(std::uint64_t seed) {
    executor::set_schedule({seed != 0, seed});
}

Unwatched::Unwatched() {
    executor::watch_accesses(false);
}
Unwatched::~Unwatched() {
    executor::watch_accesses(true);
}

void* allocate(std::int64_t bytes) {
    executor::require_not_recording("an allocation");
    return device_memory().allocate(static_cast<std::size_t>(bytes));
}

void release(void* memory, std::int64_t) noexcept {
    if (!memory) return;
    executor::note_while_recording("a release of memory");
    overrun |= !device_memory().release(memory);
}

std::int64_t free_memory() {
    return cpu::free_memory();
}
void* allocate_host(std::int64_t bytes) {
    executor::require_not_recording("an allocation of pinned memory");
    return std::malloc(static_cast<std::size_t>(bytes));
}
void release_host(void* memory, std::int64_t) noexcept {
    if (memory) executor::note_while_recording("a release of pinned memory");
    try {
        settle(transfers_begun);
    } catch (const std::logic_error&) {
        overrun = true;
    }
    std::free(memory);
}
// CUDA would take copies into a recording, and each replay would copy what the host's memory holds by then, or no
// longer is: a plan's steps have none.
void copy_to_device(Stream, const void* from, void* to, std::int64_t bytes) {
    executor::require_not_recording("a copy from the host");
    cpu::copy_to_device({}, from, to, bytes);
    device_memory().mark_written(to, static_cast<std::size_t>(bytes));
    begin_transfer(from, nullptr, bytes);
}
void copy_to_host(Stream, const void* from, void* to, std::int64_t bytes) {
    executor::require_not_recording("a copy to the host");
    begin_transfer(from, to, bytes);
}
void set_zero(Stream stream, void* memory, std::int64_t bytes) {
    executor::submit(stream, [=] {
        cpu::set_zero({}, memory, bytes);
        device_memory().mark_written(memory, static_cast<std::size_t>(bytes));
    });
}
void synchronise(Stream) {
    executor::require_not_recording("waiting for a stream");
    settle(transfers_begun);
}
Event record_event(Stream, Event) {
    executor::require_not_recording("an event");
    Event event = cpu::record_event({}, {});
    event.handle = reinterpret_cast<void*>(transfers_begun);
    return event;
}
void wait_in_stream(Stream, Event) {
    executor::require_not_recording("a wait for another stream");
}
void wait_for(Event event) {
    executor::require_not_recording("waiting for an event");
    settle(reinterpret_cast<std::uint64_t>(event.handle));
}
double seconds_between(Event from, Event to) {
    return cpu::seconds_between(from, to);
}
void release_event(Event) noexcept {}
bool completed(Event event) {
    return transfers.empty() || transfers.front().number > reinterpret_cast<std::uint64_t>(event.handle);
}
void begin_range(const char*) {}
void end_range() {}
double arithmetic_peak(Stream, bool) {
    return 0;
}
std::string device_description() {
    return "CUDA kernels on the CPU";
}

const Backend& backend() {
#define IWSEG_KERNEL_ADDRESS(name) &simt::name,
    static constexpr Backend table{"simt", false, IWSEG_KERNELS(IWSEG_KERNEL_ADDRESS)};
#undef IWSEG_KERNEL_ADDRESS
    return table;
}

}  // namespace iwseg::simt
