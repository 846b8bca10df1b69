#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// What the executor knows of a running kernel, for those that look on: bounds and races (tests/simt/simt_races.h) and
// counters.
//
// g++ compiles kernels with -fsanitize=thread, which puts a call of __tsan_read4 and the like before each load and
// store that may touch memory of others; libtsan is not linked, tests/simt/simt_hooks.cpp defines these functions. So
// every access of a kernel is seen, with nothing written into the kernel for it. Volatile accesses (relaxed_load,
// relaxed_store) and atomics are told from plain ones. What lies neither in device memory nor in the block's shared
// memory is passed over: the compiler's stack, the executor's own data and, in tests of the executor, arrays of the
// host.
//
// A collective of the executor (ldmatrix, cp.async), whose loads and stores are done in code of the executor, tells of
// them itself by note_access, on the fiber of the thread that gave the address:
//   ldmatrix   each lane that gives a row: {row, 16, read}. What the lanes of a call give counts as one request.
//   cp.async   at the call {from, 16, read} and {to, 16, write}; the write once more when a wait lets it land, as it
//   may
//              write at any moment between: what others read there since the last barrier is then a race.
//   mma.sync   registers only: nothing.
// `site` is where reports and counters say it was: in a function that is not inlined into the kernel,
// __builtin_return_address(0). No collective but __syncwarp orders memory: shuffles, votes, ldmatrix and mma.sync do
// not, as in CUDA.
namespace iwseg::simt::executor {

enum class Strength : unsigned char { plain, relaxed, atomic };

struct Access {
    std::uintptr_t at;
    unsigned bytes;
    bool write;
    Strength strength;
    const void* site;  ///< an address in the code, after the access
};

/// True where kernels are compiled with hooks: not in builds with AddressSanitizer, which g++ does not combine with
/// -fsanitize=thread, and not by other compilers than g++. Without them nothing is found and nothing is counted.
bool has_hooks();

/// True while the thread that runs is within an atomic. Volatile, as the hooks that read it come after optimisation.
extern volatile bool in_atomic;

/// An access of the thread that runs. Where it is out of bounds, reads device memory that was never written, or races,
/// the launch ends with std::logic_error and this call does not return.
void note_access(const Access& access);

/// False: accesses of the launches that follow are passed over.
void watch_accesses(bool watch);

/// The thread that runs has called __threadfence.
void note_fence();

// The executor's own part: what happens, in order. A block runs from its begin to its end before the next.
struct LaunchNote {
    const void* kernel;         ///< its code
    unsigned grid[3], threads;  ///< blocks; threads of a block
    const std::size_t* order;   ///< the nth block to run is order[n], x fastest
};
void begin_launch(const LaunchNote& launch);
void begin_block();
void note_barrier();
/// Lanes of the warp that begins with that thread have met at a __syncwarp.
void note_warp_barrier(int first_thread, unsigned mask);
void end_block();
/// The launch ends within a block, by an error.
void abandon_block() noexcept;

/// The shared memory of the block that runs.
class SharedMemory;
SharedMemory& shared_memory_of_block();
/// Ends the launch from within a thread: run throws std::logic_error of `what`, block and thread.
[[noreturn]] void stop(const std::string& what);

}  // namespace iwseg::simt::executor
