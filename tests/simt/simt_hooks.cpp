#define IWSEG_SIMT
#include "tests/simt/simt_hooks.h"

#include <string>
#include <vector>

#include "tests/simt/simt.h"
#include "tests/simt/simt_counters.h"
#include "tests/simt/simt_memory.h"
#include "tests/simt/simt_races.h"
#include "tests/simt/simt_shared.h"
#include "tests/simt/simt_source.h"

namespace iwseg::simt::executor {

volatile bool in_atomic = false;

namespace {

const void* kernel = nullptr;  ///< that is running, its code
bool watches = true;           ///< as watch_accesses was asked
bool is_watching = false;      ///< between begin_block and end_block
Races races;
Counters* counters = nullptr;  ///< where asked for
SharedMemory& shared = shared_memory_of_block();
DeviceMemory& device = device_memory();

[[noreturn]] void report(const std::string& what) {
    stop(function_name(kernel) + ": " + what);
}

[[noreturn]] void report_place(const Access& access, const std::string& where) {
    report(std::string(access.write ? "writes " : "reads ") + std::to_string(access.bytes) + " bytes " + where +
           ", at " + source_place(code_offset(access.site) - 1));
}

void check_device(const Access& access) {
    DeviceBuffer* buffer = device.find(access.at);
    if (!buffer) report_place(access, device.describe(access.at));
    if (access.at + access.bytes > buffer->first + buffer->bytes)
        report_place(access, "over the end of a buffer of " + std::to_string(buffer->bytes) + " bytes");
    if (access.write)
        buffer->mark_written(access.at, access.bytes);
    else if (!buffer->is_written(access.at, access.bytes))
        report_place(access, "that nothing has written, " + std::to_string(access.at - buffer->first) +
                                 " bytes into a buffer of " + std::to_string(buffer->bytes) + " bytes");
}

void check_shared(const Access& access) {
    if (!shared.contains(access.at, access.bytes)) report_place(access, shared.describe(access.at));
}

}  // namespace

bool has_hooks() {
#if defined(IWSEG_SIMT_HOOKS)
    return true;
#else
    return false;
#endif
}

void begin_launch(const LaunchNote& launch) {
    kernel = launch.kernel;
    races.begin_launch(launch);
    if (counters) counters->begin_launch(launch);
}
void begin_block() {
    races.begin_block();
    is_watching = watches;
}
void note_barrier() {
    races.barrier();
}
void note_warp_barrier(int first_thread, unsigned mask) {
    races.warp_barrier(first_thread, mask);
}
void note_fence() {
    races.fence(current->number);
}
void watch_accesses(bool watch) {
    watches = watch;
}
void end_block() {
    is_watching = false;
    if (counters) counters->end_block();
}
void abandon_block() noexcept {
    is_watching = false;
}
Counting::Counting(Counters& to) {
    counters = &to;
}
Counting::~Counting() {
    counters = nullptr;
}

void note_access(const Access& access) {
    if (!is_watching || access.bytes == 0) return;
    const bool is_shared = shared.holds(access.at);
    if (!is_shared && !device.holds(access.at)) return;
    if (is_shared)
        check_shared(access);
    else
        check_device(access);
    races.see(access, current->number, is_shared, report);
    if (counters) counters->see(access, current->number, is_shared ? Space::shared : Space::device);
}

}  // namespace iwseg::simt::executor

#if defined(IWSEG_SIMT_HOOKS)
// What g++ calls. A volatile access is one of relaxed_load or relaxed_store.
namespace {

using iwseg::simt::executor::in_atomic;
using iwseg::simt::executor::Strength;

__attribute__((always_inline)) inline void note(const void* at, unsigned bytes, bool write, Strength strength,
                                                const void* site) {
    if (strength == Strength::relaxed && in_atomic) strength = Strength::atomic;
    iwseg::simt::executor::note_access({reinterpret_cast<std::uintptr_t>(at), bytes, write, strength, site});
}

}  // namespace

#define IWSEG_HOOK(name, bytes, write, strength)                                 \
    void name(void* at) {                                                        \
        note(at, bytes, write, Strength::strength, __builtin_return_address(0)); \
    }
#define IWSEG_HOOKS(bytes)                                                   \
    IWSEG_HOOK(__tsan_read##bytes, bytes, false, plain)                      \
    IWSEG_HOOK(__tsan_write##bytes, bytes, true, plain)                      \
    IWSEG_HOOK(__tsan_unaligned_read##bytes, bytes, false, plain)            \
    IWSEG_HOOK(__tsan_unaligned_write##bytes, bytes, true, plain)            \
    IWSEG_HOOK(__tsan_volatile_read##bytes, bytes, false, relaxed)           \
    IWSEG_HOOK(__tsan_volatile_write##bytes, bytes, true, relaxed)           \
    IWSEG_HOOK(__tsan_unaligned_volatile_read##bytes, bytes, false, relaxed) \
    IWSEG_HOOK(__tsan_unaligned_volatile_write##bytes, bytes, true, relaxed)

extern "C" {
IWSEG_HOOKS(1)
IWSEG_HOOKS(2)
IWSEG_HOOKS(4)
IWSEG_HOOKS(8)
IWSEG_HOOKS(16)
void __tsan_read_range(void* at, std::size_t bytes) {
    note(at, static_cast<unsigned>(bytes), false, Strength::plain, __builtin_return_address(0));
}
void __tsan_write_range(void* at, std::size_t bytes) {
    note(at, static_cast<unsigned>(bytes), true, Strength::plain, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
#endif
