#include "engine/ops/gelu.h"

#include "engine/ops/activation.h"

namespace iwseg {

Tensor gelu(Tensor x) {
    return add_activation(x, "gelu", {Activation::Kind::gelu});
}

}  // namespace iwseg
