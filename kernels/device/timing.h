#pragma once

#include "kernels/device/declare.h"

namespace iwseg {

/// A moment in a stream's work (a cudaEvent_t on CUDA, the clock on the CPU).
struct Mark {
    void* handle = nullptr;
    double seconds = 0;
};

}  // namespace iwseg

/// Moments in a stream's work, and what people who profile need.
IWSEG_BACKENDS(
    /// Marks what is queued so far. used: a mark no longer needed, whose event is used again.
    Mark set_mark(Stream stream, Mark used);
    /// Waits until the work before a mark is done, copies included; not at all for one that was never set. Throws
    /// std::runtime_error where any of it failed.
    void wait_for(Mark mark);
    /// Has a stream's work from here on begin after the work before a mark of another stream; the host does not wait,
    /// nor does the stream for a mark that was never set.
    void wait_in_stream(Stream stream, Mark mark);
    /// Of two marks that have been waited for.
    double seconds_between(Mark from, Mark to); void release_mark(Mark mark) noexcept;
    /// Whether the work before a mark that was set is done; does not wait.
    bool reached(Mark mark);
    /// Keeps a device that works on its own busy for about that long, so that what is queued meanwhile starts without
    /// waiting for the host. Nothing on the CPU.
    void delay(Stream stream, double seconds);
    /// A named range around what is queued between the two, nested (NVTX on CUDA).
    void begin_range(const char* name); void end_range();
    /// Operations per second, measured now, of what convolutions are made of: multiplying and adding in registers on
    /// the CPU, a large matrix product on CUDA; 0 where that cannot be measured.
    double arithmetic_peak(Stream stream, bool bf16);)
