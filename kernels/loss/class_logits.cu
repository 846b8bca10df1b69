#include "kernels/loss/class_logits.h"

#include "kernels/cuda/launch.h"
#include "kernels/device/bf16.h"
#include "kernels/device/dispatch.h"

// A thread has a voxel with all its channels, and reads them again from the cache rather than keep them: the two
// largest, the sum of the others, the result. Neighbouring threads have neighbouring voxels.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ __forceinline__ SoftmaxSums sums_of(const T* z, std::int64_t step, int channels) {
    SoftmaxSums sums;
    for (int k = 0; k < channels; ++k) sums.compare(to_f32(z[k * step]), k);
    for (int k = 0; k < channels; ++k) sums.add(to_f32(z[k * step]), k);
    return sums;
}

/// Blocks y are samples; voxels: of one.
template <class T>
__global__ void __launch_bounds__(kThreads)
    split_kernel(const T* logit, const std::int32_t* labels, ClassChannels channels, std::int64_t voxels, float* binary,
                 std::uint8_t* target) {
    const std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, n = blockIdx.y;
    if (v >= voxels) return;
    const T* z = logit + n * channels.channels * voxels + v;
    const std::int64_t first = n * voxels + v, step = gridDim.y * voxels;
    const std::int32_t label = labels[first];
    SoftmaxSums sums;
    if (channels.exclusive) sums = sums_of(z, voxels, channels.channels);
    const float rest = channels.exclusive ? sums.rest() : 0.0f;
    for (int k = 0; k < channels.channels; ++k) {
        float own = to_f32(z[k * voxels]);
        if (channels.exclusive) {
            const bool largest = k == sums.largest;
            own = own - (largest ? sums.second : sums.most) -
                  log_from_one(largest ? sums.others : sums.beside(own, rest));
        }
        binary[first + k * step] = own;
        target[first + k * step] = target_in_channel(label, channels.labels[k]);
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    join_kernel(const T* logit, const float* diff_binary, int channels, bool exclusive, std::int64_t voxels,
                T* diff_logit, Write write) {
    const std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, n = blockIdx.y;
    if (v >= voxels) return;
    const T* z = logit + n * channels * voxels + v;
    const std::int64_t first = n * voxels + v, step = gridDim.y * voxels;
    SoftmaxSums sums;
    float all = 0, of_largest = 0, rest = 0;
    if (exclusive) {
        sums = sums_of(z, voxels, channels);
        rest = sums.rest();
        for (int k = 0; k < channels; ++k) {
            const float own = diff_binary[first + k * step];
            if (k == sums.largest)
                of_largest = own;
            else
                all += own / sums.beside(to_f32(z[k * voxels]), rest);
        }
    }
    for (int k = 0; k < channels; ++k) {
        const float own = diff_binary[first + k * step];
        float gradient = own;
        if (exclusive && k == sums.largest) {
            gradient = own - all;
        } else if (exclusive) {
            const float at = to_f32(z[k * voxels]);
            gradient = own - (exp_nonpositive(at - sums.most) * (all - own / sums.beside(at, rest)) +
                              of_largest * (exp_nonpositive(at - sums.second) / sums.others));
        }
        T* to = diff_logit + (n * channels + k) * voxels + v;
        store(*to, write == Write::accumulate ? to_f32(*to) + gradient : gradient);
    }
}

LaunchShape shape_of(const Shape& logit, const char* operation) {
    const std::int64_t blocks = (logit.voxels() + kThreads - 1) / kThreads;
    if (blocks > 0x7FFFFFFF || logit.n > 0xFFFF)
        throw std::invalid_argument(std::string(operation) + ": a tensor of more voxels than a launch takes");
    return {{static_cast<unsigned>(blocks), static_cast<unsigned>(logit.n)}, kThreads};
}

}  // namespace

void split_classes(Stream stream, const ClassChannels& channels, View logit, const std::int32_t* labels, float* binary,
                   std::uint8_t* target) {
    require_class_logits(channels, logit, "split_classes");
    with_real(logit.type, [&](auto real) {
        using T = decltype(real);
        launch(split_kernel<T>, shape_of(logit.shape, "split_classes"), stream, logit.as<const T>(), labels, channels,
               logit.shape.voxels(), binary, target);
    });
}

void split_classes_backward(Stream stream, const ClassChannels& channels, View logit, const float* diff_binary,
                            View diff_logit, Write write) {
    require_class_logits(channels, logit, "split_classes_backward");
    require_same_form(logit, diff_logit, "split_classes_backward");
    with_real(logit.type, [&](auto real) {
        using T = decltype(real);
        launch(join_kernel<T>, shape_of(logit.shape, "split_classes_backward"), stream, logit.as<const T>(),
               diff_binary, channels.channels, channels.exclusive, logit.shape.voxels(), diff_logit.as<T>(), write);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
