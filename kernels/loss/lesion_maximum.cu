#include "kernels/loss/lesion_maximum.h"

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/bf16.h"
#include "kernels/device/memory.h"
#include "kernels/loss/lesion_input.h"
#include "kernels/loss/lesion_key.h"
#include "kernels/loss/loss_pass.h"

// Keys of each label, whose largest is found by integer atomics: the order of threads does not matter. The target is
// read once, a byte a voxel; logits and labels where there is lesion. One block then walks the labels twice at most.
namespace iwseg::IWSEG_BACKEND {
namespace {

using formulas::LesionKey;

constexpr const char* kOperation = "lesion_maximum";
constexpr int kThreads = 256, kJoinThreads = 512;

/// Scratch: what a lesion's gradient is multiplied by, then the keys, (N, stride).
struct Scratch {
    double* share;
    LesionKey* keys;
};
Scratch scratch_in(void* memory) {
    auto* share = static_cast<double*>(memory);
    return {share, reinterpret_cast<LesionKey*>(share + 1)};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    find_maxima_kernel(const T* logit, const std::uint8_t* target, const std::int32_t* labels, std::int64_t voxels,
                       std::int64_t stride, LesionKey* keys) {
    const std::int64_t n = blockIdx.y;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::int64_t at = n * voxels + v;
        if (target[at] != 1) continue;
        LesionKey* place = keys + n * stride + labels[at];
        const LesionKey key = formulas::lesion_key(to_f32(logit[at]), v);
        if (relaxed_load(place) < key) atomicMax(place, key);  // mostly it is not, and an atomic is saved
    }
}

/// One block.
__global__ void __launch_bounds__(kJoinThreads)
    mean_of_maxima_kernel(Scratch scratch, std::int64_t labels, LesionMaximumPass pass, const float* step,
                          double* value, Write write) {
    double sum = 0, lesions = 0;
    for (std::int64_t i = threadIdx.x; i < labels; i += kJoinThreads) {
        const LesionKey key = scratch.keys[i];
        if (key == 0) continue;
        const float z = formulas::logit_of(key);
        sum += softplus(-z, sigmoid(z));
        lesions += 1;
    }
    sum = block_sum<kJoinThreads>(sum);
    lesions = block_sum<kJoinThreads>(lesions);
    if (threadIdx.x != 0) return;
    double share = lesions > 0 ? pass.factor / lesions : 0;
    const double found =
        formulas::share_of(formulas::warmed_up(pass.warmup, step), lesions > 0 ? share * sum : 0, &share, 1);
    *scratch.share = share;
    *value = write == Write::overwrite ? found : *value + found;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gradient_of_maxima_kernel(Scratch scratch, std::int64_t voxels, std::int64_t stride, T* diff_logit) {
    const std::int64_t n = blockIdx.y;
    const auto share = static_cast<float>(*scratch.share);
    for (std::int64_t l = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; l < stride;
         l += std::int64_t{gridDim.x} * kThreads) {
        const LesionKey key = scratch.keys[n * stride + l];
        if (key == 0 || share == 0) continue;
        T& place = diff_logit[n * voxels + formulas::voxel_of(key)];
        store(place, to_f32(place) - share * sigmoid(formulas::logit_of(key)).q);
    }
}

}  // namespace

std::int64_t lesion_maximum_scratch_bytes(const Shape& logit, std::int64_t stride) {
    return static_cast<std::int64_t>(sizeof(double)) + logit.n * stride * static_cast<std::int64_t>(sizeof(LesionKey));
}

void lesion_maximum_value(Stream stream, const LesionMaximumPass& pass, const LossInput& input, void* memory,
                          double* value, Write write) {
    formulas::require_lesion_input(input, kOperation);
    const Scratch scratch = scratch_in(memory);
    const Shape& shape = input.logit.shape;
    const std::int64_t labels = shape.n * input.stride;
    set_zero(stream, scratch.keys, labels * static_cast<std::int64_t>(sizeof(LesionKey)));
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        launch(find_maxima_kernel<T>,
               {{blocks_for(shape.voxels(), kThreads), static_cast<unsigned>(shape.n)}, kThreads}, stream,
               input.logit.as<const T>(), input.target, input.labels, shape.voxels(), input.stride, scratch.keys);
    });
    launch(mean_of_maxima_kernel, {1, kJoinThreads}, stream, scratch, labels, pass, input.step, value, write);
}

void lesion_maximum_gradient(Stream stream, const LesionMaximumPass&, const LossInput& input, const void* memory,
                             View diff_logit, Write write) {
    formulas::require_gradient_of(input, diff_logit, kOperation);
    const Shape& shape = input.logit.shape;
    if (write == Write::overwrite)
        set_zero(stream, diff_logit.data, bytes_of(diff_logit.shape, diff_logit.type, diff_logit.layout));
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        launch(gradient_of_maxima_kernel<T>,
               {{blocks_for(input.stride, kThreads), static_cast<unsigned>(shape.n)}, kThreads}, stream,
               scratch_in(const_cast<void*>(memory)), shape.voxels(), input.stride, diff_logit.as<T>());
    });
}

}  // namespace iwseg::IWSEG_BACKEND
