#pragma once

#include "kernels/convolution/amx/tile_products.h"

namespace iwseg::cpu {

/// The loops of tile_products.h in the processor's own instructions: for those where may_use(InstructionSet::amx).
/// Throws std::logic_error where they are not compiled for the processor.
const TileProducts& processor_products();

}  // namespace iwseg::cpu
