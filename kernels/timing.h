#pragma once

#include "kernels/backend.h"

namespace iwseg {

/// A moment in a stream's work (a cudaEvent_t on CUDA, the clock on the CPU).
struct Mark {
    void* handle = nullptr;
    double seconds = 0;
};

}  // namespace iwseg

/// What people who profile need.
IWSEG_BACKENDS(
    Mark set_mark(Stream stream);
    /// Once the stream is synchronised.
    double seconds_between(Mark from, Mark to);
    void release_mark(Mark mark) noexcept;
    /// A named range around what is queued between the two, nested (NVTX on CUDA).
    void begin_range(const char* name);
    void end_range();
    /// Operations per second of a large matrix product, measured now; 0 where the device has no such product.
    double matrix_peak(Stream stream, bool bf16);)
