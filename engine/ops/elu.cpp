#include "engine/ops/elu.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "engine/ops/activation.h"

namespace iwseg {

Tensor elu(Tensor x, float alpha) {
    if (!(alpha >= 0 && std::isfinite(alpha)))
        throw std::invalid_argument("elu: an alpha of " + std::to_string(alpha) + ", expected one of 0 or more");
    return add_activation(x, "elu", {Activation::Kind::elu, alpha});
}

}  // namespace iwseg
