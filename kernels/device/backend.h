#pragma once

#include <string>

#include "kernels/components/component_weights.h"
#include "kernels/components/components.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/components/nearest_lesion.h"
#include "kernels/components/size_weights.h"
#include "kernels/convolution/convolution.h"
#include "kernels/convolution/weights.h"
#include "kernels/device/memory.h"
#include "kernels/device/staged.h"
#include "kernels/device/timing.h"
#include "kernels/elementwise/activation.h"
#include "kernels/elementwise/channel_copy.h"
#include "kernels/elementwise/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/linear.h"
#include "kernels/elementwise/linear_layer.h"
#include "kernels/elementwise/multiply.h"
#include "kernels/elementwise/prelu.h"
#include "kernels/elementwise/reorder.h"
#include "kernels/elementwise/softmax.h"
#include "kernels/loss/class_logits.h"
#include "kernels/loss/hardest_voxels.h"
#include "kernels/loss/instance_loss.h"
#include "kernels/loss/lesion_maximum.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/region_loss.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/group_norm.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/gradient.h"
#include "kernels/optimizer/moving_average.h"
#include "kernels/optimizer/sgd.h"
#include "kernels/patch/cut_patch.h"
#include "kernels/patch/grid_patch.h"
#include "kernels/resample/channel_mean.h"
#include "kernels/resample/max_pool.h"
#include "kernels/resample/upsample.h"
#include "kernels/resample/window_sum.h"

/// Every function of a backend that the engine calls, by name.
// clang-format off
#define IWSEG_KERNELS(X) \
    X(allocate) X(release) X(free_memory) X(allocate_host) X(release_host) X(copy_to_device) X(copy_to_host) \
    X(set_zero) X(synchronise) X(open_stream) X(close_stream) X(begin_recording) X(end_recording) X(replay) \
    X(release_recorded) X(device_description) X(record_event) X(wait_for) X(wait_in_stream) X(seconds_between) \
    X(release_event) X(completed) X(delay) X(begin_range) X(end_range) X(arithmetic_peak) X(add) X(copy) X(channel_sum) \
    X(channel_sum_scratch_bytes) X(reorder) X(batch_norm_scratch_bytes) X(batch_norm_statistics) \
    X(batch_norm_running_statistics) X(batch_norm_apply) X(batch_norm_backward) X(group_norm_scratch_bytes) \
    X(group_norm_statistics) X(group_norm_apply) X(group_norm_backward) X(make_convolution) \
    X(convolution_engines) X(preferred_layout) X(pack_all_weights) X(unpack_all_weights) X(add_bias) X(activate) \
    X(activate_backward) X(max_pool) \
    X(max_pool_backward) X(upsample) X(upsample_backward) X(loss_scratch_bytes) X(loss_value) X(loss_gradient) \
    X(hardest_voxels_scratch_bytes) X(hardest_voxels_value) X(hardest_voxels_gradient) \
    X(lesion_maximum_scratch_bytes) X(lesion_maximum_value) X(lesion_maximum_gradient) X(size_weights) \
    X(region_loss_scratch_bytes) X(region_loss_value) X(region_loss_gradient) X(nearest_lesion_scratch_bytes) \
    X(nearest_lesion) X(instance_loss_scratch_bytes) X(instance_loss_value) X(instance_loss_gradient) \
    X(components_scratch_bytes) X(label_components) X(component_weights_scratch_bytes) X(component_weights) \
    X(inverse_weight_table) X(look_up_weights) X(sgd_update) X(adamw_update) X(accumulate_gradient) X(clip_gradient) \
    X(clip_scratch_bytes) X(average_values) X(take_staged) X(cut_patches) X(extract_patch) \
    X(extract_patch_scratch_bytes) X(accumulate_patch) X(average_patches) X(copy_channels) X(multiply) X(sum_windows) \
    X(spread_windows) X(channel_mean) X(channel_mean_scratch_bytes) X(softmax) X(softmax_backward) X(linear) \
    X(linear_backward_data) X(linear_backward_weights) X(make_linear) X(dropout) X(prelu) X(prelu_scratch_bytes) \
    X(prelu_backward) X(split_classes) X(split_classes_backward)
// clang-format on

namespace iwseg {

/// One backend: its kernels and its memory. The context holds the table of its device, so that no operation asks which
/// device it is on.
struct Backend {
    const char* name;  ///< cpu, cuda or simt
    bool host_memory;  ///< device memory is ordinary memory, which the host reads and writes
#define IWSEG_BACKEND_MEMBER(name) decltype(&cpu::name) name;
    IWSEG_KERNELS(IWSEG_BACKEND_MEMBER)
#undef IWSEG_BACKEND_MEMBER
};

namespace cpu {
const Backend& backend();
}
namespace cuda {
/// True where this build has CUDA and the machine a usable GPU.
bool available();
/// GPUs that this process sees, usable or not; 0 without CUDA. Takes no memory of theirs.
int device_count();
/// Why it is not available, in a sentence's second half; empty where it is.
std::string why_unavailable();
/// Throws InputError, saying what is missing, in a build without CUDA, without a GPU, or with one too old.
const Backend& backend();
}  // namespace cuda

}  // namespace iwseg
