#pragma once

namespace iwseg {

/// Asks the system to let the calling thread, and threads that it starts, run for short whiles (1 ms) at a time: no
/// more of the processor, but sooner after waking up. Threads that share loops wait for each other, so beside other
/// work each goes on only when all are back. Linux from 6.12 on; elsewhere, and where it is not allowed, nothing
/// changes.
void ask_for_short_slices() noexcept;

}  // namespace iwseg
