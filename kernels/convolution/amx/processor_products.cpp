#include "kernels/convolution/amx/processor_products.h"

#include <stdexcept>

namespace iwseg::cpu {

const TileProducts& processor_products() {
#if defined(__x86_64__) && defined(__GNUC__)
    static constexpr TileProducts kProducts = tile_products<ProcessorTiles>();
    return kProducts;
#else
    throw std::logic_error("tiles: not on this processor");
#endif
}

}  // namespace iwseg::cpu
