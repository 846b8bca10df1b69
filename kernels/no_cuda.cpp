#include "kernels/error.h"
#include "kernels/kernel_table.h"

namespace iwseg::cuda {

const Kernels& kernels() {
    throw InputError("device cuda is not available: this build of iwseg computes on the CPU only; use --device cpu");
}

}  // namespace iwseg::cuda
