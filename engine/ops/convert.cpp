#include "engine/ops/convert.h"

#include "engine/lowering.h"
#include "engine/ops/pass_gradient.h"

namespace iwseg {

void ConvertOperation::forward(const Lowering& lowering) const {
    convert(lowering, name_, lowering.input(0), lowering.output());
}

void ConvertOperation::backward(const Lowering& lowering) const {
    if (lowering.wants_gradient(0))
        pass_gradient(lowering, "backward", lowering.output_gradient(), lowering.input_gradient(0));
}

}  // namespace iwseg
