#include "engine/ops/sigmoid.h"

#include "engine/ops/activation.h"

namespace iwseg {

Tensor sigmoid(Tensor x) {
    return add_activation(x, "sigmoid", {Activation::Kind::sigmoid});
}

}  // namespace iwseg
