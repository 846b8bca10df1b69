#pragma once

#include <dnnl.hpp>

namespace iwseg::cpu {

/// The widest instructions that oneDNN uses here. It is held to instructions() (instruction_set.h) first, which it
/// allows once in a process and only before it has been asked for anything: everybody asks here.
dnnl::cpu_isa onednn_instructions();

}  // namespace iwseg::cpu
