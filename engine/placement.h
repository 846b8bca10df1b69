#pragma once

#include <cstdint>
#include <vector>

#include "engine/program.h"

namespace iwseg {

/// Where each buffer lies and from which call to which it is needed.
struct Placement {
    int root = -1;             ///< the buffer that this one aliases, or itself
    int first = 0, last = -1;  ///< calls; last < first: never used
    std::int64_t offset = 0;   ///< bytes from the arena's start
    /// Of a root: the root that it lies in as a part, computed where it is wanted or over what was there, and how many
    /// bytes from its start; -1: it lies by itself. It may lie there before the other one is needed, or after: of the
    /// rest others have the use.
    int whole = -1;
    std::int64_t share = 0;
};

/// A program's buffers in one arena.
struct Arena {
    std::vector<Placement> placements;  ///< by buffer
    std::vector<bool> idle;             ///< by call: nothing is left to do, as its results lie where its sources lay
    std::int64_t bytes = 0;
};

/// Results alias memory that nothing reads any more, and parts are computed where they are put together
/// (Call::in_place, Call::shares and Call::over, which say where they may be). Parts not where that takes more memory,
/// as they have to lie beside each other from when they are computed on; what is written over something else, which
/// takes longer, only where that takes less: then all that can be.
Arena place(const std::vector<BufferSpec>& buffers, const std::vector<Call>& calls);

/// Bytes of what a call finds in the arena or leaves there.
std::int64_t live_bytes(const std::vector<BufferSpec>& buffers, const std::vector<Placement>& placements, int call);

}  // namespace iwseg
