#pragma once

#include <utility>

#include "engine/program.h"

namespace iwseg {

/// What is left of the sharing of memory.
struct Apart {
    bool in_place = false;
};

/// The same program in whose plan no buffer lies in another's memory, or no part in what it is a part of.
inline Program apart(const Program& program, const Apart& left = {}) {
    Program made;
    for (const BufferSpec& buffer : program.buffers()) made.add(buffer);
    for (Call call : program.calls()) {
        if (!left.in_place) call.in_place.reset();
        call.over.reset();
        call.shares.clear();
        made.add(std::move(call));
    }
    return made;
}

}  // namespace iwseg
