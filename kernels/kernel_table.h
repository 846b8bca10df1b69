#pragma once

#include "kernels/batch_norm.h"
#include "kernels/convolution.h"
#include "kernels/elementwise.h"
#include "kernels/inverse_weights.h"
#include "kernels/loss.h"
#include "kernels/max_pool.h"
#include "kernels/reorder.h"
#include "kernels/sgd.h"
#include "kernels/upsample.h"

/// Every kernel the engine calls, by name.
#define IWSEG_KERNELS(X)                                                                                            \
    X(add) X(copy) X(reorder) X(batch_norm_scratch_bytes) X(batch_norm_statistics) X(batch_norm_running_statistics) \
    X(batch_norm_apply) X(batch_norm_backward) X(make_convolution) X(preferred_layout) X(max_pool)                  \
    X(max_pool_backward) X(upsample) X(upsample_backward) X(loss_scratch_bytes) X(loss_value) X(loss_gradient)      \
    X(sgd_update)

namespace iwseg {

/// One backend's kernels. The context holds the table of its device, so that no operation asks which device it is on.
struct Kernels {
#define IWSEG_KERNEL_MEMBER(name) decltype(&cpu::name) name;
    IWSEG_KERNELS(IWSEG_KERNEL_MEMBER)
#undef IWSEG_KERNEL_MEMBER
};

namespace cpu {
const Kernels& kernels();
}
namespace cuda {
/// Throws InputError in a build without CUDA.
const Kernels& kernels();
}

}  // namespace iwseg
