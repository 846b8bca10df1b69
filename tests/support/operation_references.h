#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/reference_operations.h"

// Operations beyond the residual U-Net's in double precision, written down plainly: NaN and infinity as PyTorch has
// them.
namespace iwseg::reference {

using Arrays = std::vector<Array>;

inline Array concatenated(const Arrays& parts) {
    Shape shape = parts[0].shape;
    shape.c = 0;
    for (const Array& part : parts) shape.c += part.shape.c;
    Array y(shape);
    std::int64_t first = 0;
    for (const Array& part : parts) {
        each(part.shape,
             [&](auto n, auto c, auto d, auto h, auto w) { y.at(n, first + c, d, h, w) = part.at(n, c, d, h, w); });
        first += part.shape.c;
    }
    return y;
}

}  // namespace iwseg::reference
