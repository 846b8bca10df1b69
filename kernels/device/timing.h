#pragma once

#include "kernels/device/declare.h"

namespace iwseg {

/// A moment in a stream's work (a cudaEvent_t on CUDA, the clock on the CPU).
struct Event {
    void* handle = nullptr;
    double seconds = 0;
};

}  // namespace iwseg

/// Moments in a stream's work, and what people who profile need.
IWSEG_BACKENDS(
    /// Records what is queued so far. used: one no longer needed, which is recorded again.
    Event record_event(Stream stream, Event used);
    /// Waits until the work before an event is done, copies included; not at all for one that was never recorded.
    /// Throws std::runtime_error where any of it failed.
    void wait_for(Event event);
    /// Has a stream's work from here on begin after the work before an event of another stream; the host does not wait,
    /// nor does the stream for an event that was never recorded.
    void wait_in_stream(Stream stream, Event event);
    /// Of two events that have been waited for.
    double seconds_between(Event from, Event to); void release_event(Event event) noexcept;
    /// Whether the work before an event that was recorded is done; does not wait.
    bool completed(Event event);
    /// Keeps a device that works on its own busy for about that long, so that what is queued meanwhile starts without
    /// waiting for the host. Nothing on the CPU.
    void delay(Stream stream, double seconds);
    /// A named range around what is queued between the two, nested (NVTX on CUDA).
    void begin_range(const char* name); void end_range();
    /// Operations per second, measured now, of what convolutions are made of: multiplying and adding in registers on
    /// the CPU, a large matrix product on CUDA; 0 where that cannot be measured.
    double arithmetic_peak(Stream stream, bool bf16);)
