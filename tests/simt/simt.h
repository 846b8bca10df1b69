#pragma once

// Runs CUDA kernels on the CPU, without a GPU: included before a .cu file that g++ compiles with IWSEG_SIMT defined, it
// stands in for the CUDA language. One fiber a thread, one block at a time; a thread that meets no barrier never leaves
// its fiber, so kernels without barriers run as plain loops.
//
// Errors that a GPU would hide or hang on are reported as exceptions that name block and thread: a barrier that not all
// threads reach, or reach at different lines; a warp intrinsic called by a lane outside its own mask; a deadlock. Fresh
// shared memory is filled with 0xFF, which reads as NaN; what is written past a shared array or a device buffer is
// found by its sentinel, and by AddressSanitizer. Races, accesses out of bounds and reads of what was never written are
// found at the access (tests/simt/simt_hooks.h).
//
// What a warp does with matrices, and asynchronous copies: tests/simt/simt_matrix.h.
//
// Schedules: in order, or seeded and random, where blocks and threads are shuffled and a thread may be put aside at
// each atomic, relaxed_load, relaxed_store and barrier. Races of algorithms show as results that depend on the seed.
//
// With IWSEG_CUDA_STANDIN defined too, kernels are iwseg::cuda's and are launched by CUDA's own call, which
// tests/cuda_standin/ stands in for.

#ifndef IWSEG_SIMT
#error "tests/simt/simt.h stands in for CUDA where IWSEG_SIMT is defined"
#endif

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

#include "kernels/device/declare.h"
#include "tests/simt/call_site.h"
#include "tests/simt/simt_hooks.h"
#include "tests/simt/simt_recording.h"

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace iwseg::simt::executor {

/// How the threads of the next launches take turns.
struct Schedule {
    bool random = false;
    std::uint64_t seed = 0;
};
void set_schedule(const Schedule& schedule);

/// What one launch did, for tests of the executor.
struct LaunchCount {
    std::int64_t launches = 0, threads = 0, switches = 0;
    /// Loaded from shared memory by tensor-core instructions, and the cycles that its banks took: one a matrix at best.
    std::int64_t matrices = 0, matrix_cycles = 0;
};
LaunchCount& launch_count();

enum class WarpOperation : unsigned char { synchronise, shuffle, ballot, collective };

/// One thread of the block that is running.
struct Thread {
    dim3 thread_index, block_index, block_size, grid_size;
    int number = 0;  ///< within the block
};
extern Thread* current;

void barrier(const CallSite& site);
/// Waits for the lanes of the mask, then returns: for shuffle, the value that lane `source` of the warp gave (for a
/// source outside the mask, the caller's own); for ballot, the lanes that gave a nonzero value.
std::uint64_t warp(WarpOperation operation, unsigned mask, std::uint64_t value, int source, const CallSite& site);
/// What the 32 lanes of a warp do together: computed once, from the arguments they gave, in the order of lanes.
using Collective = void (*)(void* const (&arguments)[32]);
void collective(Collective compute, void* argument, const CallSite& site);
/// Throws std::logic_error that names block and thread.
[[noreturn]] void fail(const std::string& what);
/// Throws where the bytes are not aligned to their number or lie outside the block's shared arrays.
void require_shared(const void* address, std::size_t bytes, const char* what);
/// A place where a random schedule may let other threads go first.
void may_switch();
/// The block's array of that name, made by the first thread to come, filled with 0xFF.
void* shared_memory(const void* key, std::size_t bytes);
void run(dim3 grid, dim3 block, const std::function<void()>& thread, const char* kernel, const void* code);

template <class T>
std::uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline int lane() {
    return current->number % 32;
}

}  // namespace iwseg::simt::executor

// The language.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::iwseg::simt::executor::current->thread_index)
#define blockIdx (::iwseg::simt::executor::current->block_index)
#define blockDim (::iwseg::simt::executor::current->block_size)
#define gridDim (::iwseg::simt::executor::current->grid_size)
#define SHARED(type, name, ...)                             \
    static const char name##_key = 0;                       \
    using name##_type = std::remove_all_extents_t<type>;    \
    auto& name = *static_cast<name##_type(*)[__VA_ARGS__]>( \
        ::iwseg::simt::executor::shared_memory(&name##_key, sizeof(name##_type[__VA_ARGS__])))

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};

using std::max;
using std::min;

// Barriers and warps.
inline void __syncthreads(const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    iwseg::simt::executor::barrier(site);
}
inline void __threadfence() {
    iwseg::simt::executor::note_fence();
}
inline void __threadfence_block() {}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu,
                       const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    iwseg::simt::executor::warp(iwseg::simt::executor::WarpOperation::synchronise, mask, 0, 0, site);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    namespace e = iwseg::simt::executor;
    const int first = e::lane() / width * width;
    return e::from_bits<T>(e::warp(e::WarpOperation::shuffle, mask, e::to_bits(value), first + source % width, site));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32,
                  const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    namespace e = iwseg::simt::executor;
    const int source = e::lane() ^ other;
    const int from = source / width > e::lane() / width ? e::lane() : source;
    return e::from_bits<T>(e::warp(e::WarpOperation::shuffle, mask, e::to_bits(value), from, site));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    namespace e = iwseg::simt::executor;
    const int source = e::lane() + static_cast<int>(by);
    const int from = source / width == e::lane() / width ? source : e::lane();
    return e::from_bits<T>(e::warp(e::WarpOperation::shuffle, mask, e::to_bits(value), from, site));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    namespace e = iwseg::simt::executor;
    const int source = e::lane() - static_cast<int>(by);
    const int from = source >= e::lane() / width * width ? source : e::lane();
    return e::from_bits<T>(e::warp(e::WarpOperation::shuffle, mask, e::to_bits(value), from, site));
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    namespace e = iwseg::simt::executor;
    return static_cast<unsigned>(e::warp(e::WarpOperation::ballot, mask, predicate != 0, 0, site));
}
inline int __any_sync(unsigned mask, int predicate,
                      const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      const iwseg::simt::CallSite& site = iwseg::simt::CallSite::current()) {
    return __ballot_sync(mask, predicate, site) == mask;
}

// Atomics: each is one step of one thread, and a place to switch before and after. Always inlined, so that what looks
// on (tests/simt/simt_hooks.h) finds them on the kernel's line.
namespace iwseg::simt::executor {
template <class T, class Change>
[[gnu::always_inline]] inline T atomic(T* at, Change&& change) {
    may_switch();
    volatile T* place = at;  // what is seen to be volatile is no race with its like
    in_atomic = true;
    const T before = *place;
    *place = change(before);
    in_atomic = false;
    may_switch();
    return before;
}
}  // namespace iwseg::simt::executor
template <class T>
[[gnu::always_inline]] inline T atomicAdd(T* at, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T before) { return static_cast<T>(before + value); });
}
template <class T>
[[gnu::always_inline]] inline T atomicMin(T* at, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T before) { return std::min(before, value); });
}
template <class T>
[[gnu::always_inline]] inline T atomicMax(T* at, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T before) { return std::max(before, value); });
}
template <class T>
[[gnu::always_inline]] inline T atomicOr(T* at, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T before) { return before | value; });
}
template <class T>
[[gnu::always_inline]] inline T atomicAnd(T* at, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T before) { return before & value; });
}
template <class T>
[[gnu::always_inline]] inline T atomicExch(T* at, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T) { return value; });
}
template <class T>
[[gnu::always_inline]] inline T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    return iwseg::simt::executor::atomic(at, [&](T before) { return before == expected ? value : before; });
}

// Arithmetic.
inline int __popc(unsigned bits) {
    return std::popcount(bits);
}
inline int __popcll(unsigned long long bits) {
    return std::popcount(bits);
}
inline int __clz(int bits) {
    return std::countl_zero(static_cast<unsigned>(bits));
}
inline int __ffs(int bits) {
    return bits ? std::countr_zero(static_cast<unsigned>(bits)) + 1 : 0;
}
inline unsigned __float_as_uint(float value) {
    return std::bit_cast<unsigned>(value);
}
inline float __uint_as_float(unsigned bits) {
    return std::bit_cast<float>(bits);
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float rsqrtf(float value) {
    return 1.0f / std::sqrt(value);
}
/// Nanoseconds in place of cycles.
inline long long clock64() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}
template <class T>
T __ldg(const T* from) {
    return *from;
}

// Launches that go through CUDA's own call have theirs in kernels/cuda/launch.h.
#ifdef IWSEG_CUDA_STANDIN
#define IWSEG_BACKEND cuda
#else
/// The namespace kernels are compiled in.
#define IWSEG_BACKEND simt

namespace iwseg {

struct LaunchShape {
    dim3 grid, block;
};

namespace simt {

template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchShape& shape, Stream stream, const A&... arguments) {
    static_assert(sizeof...(P) == sizeof...(A), "as many arguments as the kernel has parameters");
    executor::submit(stream, [kernel, shape, name = __PRETTY_FUNCTION__, ... values = static_cast<P>(arguments)] {
        const auto thread = [&] { kernel(values...); };
        executor::run(shape.grid, shape.block, thread, name, reinterpret_cast<const void*>(kernel));
    });
}

}  // namespace simt
}  // namespace iwseg
#endif

namespace iwseg::IWSEG_BACKEND {

template <class T>
[[gnu::always_inline]] inline T relaxed_load(const T* from) {
    ::iwseg::simt::executor::may_switch();
    const T value = *static_cast<const volatile T*>(from);
    ::iwseg::simt::executor::may_switch();  // what was read may be stale when it is used
    return value;
}

template <class T>
[[gnu::always_inline]] inline void relaxed_store(T* to, std::type_identity_t<T> value) {
    ::iwseg::simt::executor::may_switch();
    *static_cast<volatile T*>(to) = value;
    ::iwseg::simt::executor::may_switch();
}

}  // namespace iwseg::IWSEG_BACKEND

#include "tests/simt/simt_matrix.h"
