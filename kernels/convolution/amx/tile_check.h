#pragma once

#include "kernels/convolution/amx/tile_products.h"

namespace iwseg::cpu {

/// Whether both kinds of loops give, to the bit, what plain ones give of small whole numbers, whose sums are exact in
/// any order. Convolutions by tiles are only taken where they do.
bool tiles_are_right(const TileProducts& products);

/// The same of the processor's own; true is asked for before tiles are used for the first time.
bool processor_tiles_are_right();

}  // namespace iwseg::cpu
