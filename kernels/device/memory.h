#pragma once

#include <cstdint>
#include <string>

#include "kernels/device/declare.h"

namespace iwseg {

class ThreadPool;

/// Work recorded from a stream, to be queued again and again as one (a cudaGraphExec_t).
struct RecordedWork {
    void* handle = nullptr;
};

}  // namespace iwseg

/// The device's memory and its queue of work. On the CPU, device memory is ordinary memory and work is done when a
/// function returns.
IWSEG_BACKENDS(
    /// Aligned to 256 bytes, at least. Throws InputError where the device has less, saying how much was asked for and
    /// how much is free.
    void* allocate(std::int64_t bytes); void release(void* memory, std::int64_t bytes) noexcept;
    /// Bytes the device can still give to plans and scans; on a GPU half a gigabyte less than is free, for kernels'
    /// code.
    std::int64_t free_memory();
    /// Host memory that copies to and from the device without an extra copy.
    void* allocate_host(std::int64_t bytes); void release_host(void* memory, std::int64_t bytes) noexcept;
    /// Queued; `from` must stay as it is, and `to` is not to be read, until the stream is synchronised.
    void copy_to_device(Stream stream, const void* from, void* to, std::int64_t bytes);
    void copy_to_host(Stream stream, const void* from, void* to, std::int64_t bytes);
    void set_zero(Stream stream, void* memory, std::int64_t bytes);
    /// Waits until everything queued is done. Throws std::runtime_error where any of it failed.
    void synchronise(Stream stream);
    /// threads: those of the host, which the CPU computes on; they must outlive the stream.
    Stream open_stream(ThreadPool * threads); void close_stream(Stream stream) noexcept;
    /// From here on what is queued is recorded, not done. False where the device records nothing: work is done as ever.
    bool begin_recording(Stream stream); RecordedWork end_recording(Stream stream);
    void replay(Stream stream, RecordedWork work); void release_recorded(RecordedWork work) noexcept;
    /// One line for people: what computes.
    std::string device_description();)
