#include "kernels/loss/instance_loss.h"

#include <bit>
#include <cstdint>

#include "kernels/cuda/counters.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/bf16.h"
#include "kernels/device/memory.h"
#include "kernels/loss/instance_sums.h"

// What is found is marked, its components are labelled, and one pass over the voxels adds to the sums of lesions and
// detections by integer atomics. Which detection reaches which lesion is kept as pairs, each once, in a table of hashed
// places: as many places as voxels, of which no two pairs share one, so that it is never too small. A pass over the
// table adds detections to lesions, one block makes the lesions' values and coefficients, another pass adds these to
// detections. The order of pairs in the table depends on the threads; sums of whole numbers do not.
namespace iwseg::IWSEG_BACKEND {
namespace {

using formulas::FixedSum, formulas::InstancePair, formulas::InstanceTable, formulas::InstanceValue;

constexpr int kThreads = 256, kJoinThreads = 512;
constexpr int kMostBlocks = InstanceTable::kParts;  ///< of a sample: fixed, so that sums do not depend on the card

InstanceTable table_of(const Shape& logit, std::int64_t stride, int connectivity, void* scratch) {
    const auto places = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(logit.voxels())));
    return {scratch, logit, stride, connectivity, places, components_scratch_bytes(logit, connectivity)};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    mark_found_kernel(const T* logit, const std::uint8_t* target, std::int64_t voxels, InstanceTable table) {
    const std::int64_t n = blockIdx.y;
    unsigned marks = 0, faults = 0;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::int64_t at = n * voxels + v;
        const std::uint8_t truth = target[at];
        const float z = to_f32(logit[at]);
        table.found[at] = static_cast<std::uint8_t>(truth != kIgnored && formulas::is_found(z));
        if (truth == kIgnored) continue;
        marks |= truth == 1 ? formulas::kHasVoxels | formulas::kHasLesions : formulas::kHasVoxels;
        if (z != z) faults = formulas::kSumIsNone;
    }
    if (marks & ~relaxed_load(table.samples + n)) atomicOr(table.samples + n, marks);  // mostly it is known
    if (faults != 0) atomicOr(table.faults, faults);
}

/// A pair's place: its own, or the first free one after where it belongs.
__device__ __forceinline__ void keep_pair(InstancePair* pairs, std::int64_t places, InstancePair pair) {
    const auto last = static_cast<std::uint64_t>(places) - 1;
    std::uint64_t at = pair * 0x9E3779B97F4A7C15ull >> 20 & last;
    for (;; at = (at + 1) & last) {
        InstancePair there = relaxed_load(pairs + at);
        if (there == 0) there = atomicCAS(pairs + at, InstancePair{0}, pair);
        if (there == 0 || there == pair) return;
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_instances_kernel(const T* logit, const std::uint8_t* target, const std::int32_t* labels, std::int64_t voxels,
                         std::int64_t stride, InstanceTable table) {
    const std::int64_t n = blockIdx.y;
    const bool any = table.samples[n] & formulas::kHasLesions;
    FixedSum* lesions = table.lesions + n * stride * formulas::kLesionSums;
    FixedSum* detections = table.detections + n * table.detection_stride * formulas::kDetectionSums;
    double all = 0;
    // By whole blocks: warps add together.
    for (std::int64_t first = std::int64_t{blockIdx.x} * kThreads; first < voxels;
         first += std::int64_t{gridDim.x} * kThreads) {
        const std::int64_t v = first + threadIdx.x, at = n * voxels + v;
        const std::uint8_t truth = v < voxels ? target[at] : kIgnored;
        if (!any) {
            if (truth != kIgnored) all += sigmoid(to_f32(logit[at])).p;
            continue;
        }
        const bool lesion = truth == 1, found = v < voxels && table.found[at] != 0;
        const std::int32_t label = lesion ? labels[at] * formulas::kLesionSums : -1;
        const std::int32_t detection = found ? table.labels[at] : 0;
        const Sigmoid s = sigmoid(found ? to_f32(logit[at]) : 0.0f);
        unsigned none = 0;  // p and q are numbers from 0 to 1, or the value is known to be none
        add_to_counter(lesions + formulas::kSize, label, FixedSum{1});
        add_to_counter(lesions + formulas::kFound, found ? label : -1, FixedSum{1});
        add_to_counter(lesions + formulas::kMissing, found ? label : -1, formulas::fixed_sum(s.q, none));
        add_to_counter(detections + formulas::kBackground, found && !lesion ? detection * formulas::kDetectionSums : -1,
                       formulas::fixed_sum(s.p * s.p, none));
        if (found && lesion)
            keep_pair(table.pairs + n * table.places, table.places,
                      formulas::pair_of(label / formulas::kLesionSums, detection));
    }
    if (any) return;
    all = block_sum<kThreads>(all);
    if (threadIdx.x == 0) table.parts[n * InstanceTable::kParts + blockIdx.x] = all;
}

__global__ void __launch_bounds__(kThreads) add_outside_kernel(std::int64_t stride, InstanceTable table) {
    const std::int64_t n = blockIdx.y;
    FixedSum* lesions = table.lesions + n * stride * formulas::kLesionSums;
    const FixedSum* detections = table.detections + n * table.detection_stride * formulas::kDetectionSums;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < table.places;
         i += std::int64_t{gridDim.x} * kThreads) {
        const InstancePair pair = table.pairs[n * table.places + i];
        if (pair == 0) continue;
        atomicAdd(lesions + formulas::lesion_of(pair) * formulas::kLesionSums + formulas::kOutside,
                  detections[formulas::detection_of(pair) * formulas::kDetectionSums + formulas::kBackground]);
    }
}

/// One block.
__global__ void __launch_bounds__(kJoinThreads)
    join_instances_kernel(std::int64_t samples, std::int64_t stride, std::int64_t parts, InstanceTable table,
                          InstancePass pass, const float* step, double* value, Write write) {
    double sum = 0, instances = 0;
    for (std::int64_t l = threadIdx.x; l < samples * stride; l += kJoinThreads) {
        const FixedSum* row = table.lesions + l * formulas::kLesionSums;
        if (row[formulas::kSize] == 0) continue;
        const InstanceValue lesion = formulas::value_of_lesion(row);
        sum += lesion.value;
        instances += 1;
        table.inside[l] = static_cast<float>(lesion.inside);
        table.outside[l] = lesion.outside;
    }
    sum = block_sum<kJoinThreads>(sum);
    instances = block_sum<kJoinThreads>(instances);
    for (std::int64_t n = 0; n < samples; ++n) {
        if (table.samples[n] != formulas::kHasVoxels) continue;
        const double part = threadIdx.x < parts ? table.parts[n * InstanceTable::kParts + threadIdx.x] : 0;
        const double all = block_sum<kJoinThreads>(part);
        if (threadIdx.x != 0) continue;
        const InstanceValue empty = formulas::value_of_empty(all);
        sum += empty.value;
        instances += 1;
        table.of_empty[n] = empty.outside;
    }
    if (threadIdx.x != 0) return;
    const double mean = formulas::mean_of_instances(sum, instances, *table.faults, pass.factor,
                                                    formulas::warmed_up(pass.warmup, step), table.scale);
    *value = write == Write::overwrite ? mean : *value + mean;
}

__global__ void __launch_bounds__(kThreads) add_coefficients_kernel(std::int64_t stride, InstanceTable table) {
    const std::int64_t n = blockIdx.y;
    const double* outside = table.outside + n * stride;
    FixedSum* detections = table.detections + n * table.detection_stride * formulas::kDetectionSums;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < table.places;
         i += std::int64_t{gridDim.x} * kThreads) {
        const InstancePair pair = table.pairs[n * table.places + i];
        if (pair == 0) continue;
        atomicAdd(detections + formulas::detection_of(pair) * formulas::kDetectionSums + formulas::kCoefficient,
                  formulas::fixed_coefficient(outside[formulas::lesion_of(pair)]));
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    instance_gradient_kernel(const T* logit, const std::uint8_t* target, const std::int32_t* labels,
                             std::int64_t voxels, std::int64_t stride, InstanceTable table, T* diff_logit,
                             Write write) {
    const std::int64_t n = blockIdx.y;
    const double scale = *table.scale;
    const bool empty = table.samples[n] == formulas::kHasVoxels;
    const float of_empty = empty ? static_cast<float>(scale * table.of_empty[n]) : 0.0f;
    const float* inside = table.inside + n * stride;
    const FixedSum* detections = table.detections + n * table.detection_stride * formulas::kDetectionSums;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::int64_t at = n * voxels + v;
        const std::uint8_t truth = target[at];
        float gradient = 0;
        if (truth != kIgnored && scale > 0 && (empty || table.found[at])) {
            const Sigmoid s = sigmoid(to_f32(logit[at]));
            if (empty)
                gradient = of_empty * s.p * s.q;
            else if (truth == 1)
                gradient = static_cast<float>(scale) * inside[labels[at]] * s.p * s.q;
            else
                gradient = formulas::background_coefficient(
                               scale, detections[std::int64_t{table.labels[at]} * formulas::kDetectionSums +
                                                 formulas::kCoefficient]) *
                           s.p * s.p * s.q;
        }
        store(diff_logit[at], write == Write::overwrite ? gradient : to_f32(diff_logit[at]) + gradient);
    }
}

}  // namespace

std::int64_t instance_loss_scratch_bytes(const Shape& logit, std::int64_t stride, int connectivity) {
    return table_of(logit, stride, connectivity, nullptr).bytes;
}

void instance_loss_value(Stream stream, const InstancePass& pass, const LossInput& input, void* scratch, double* value,
                         Write write) {
    formulas::require_instance_input(pass, input);
    const Shape& shape = input.logit.shape;
    const InstanceTable table = table_of(shape, input.stride, pass.connectivity, scratch);
    const auto samples = static_cast<unsigned>(shape.n);
    const std::int64_t voxels = shape.voxels();
    const unsigned parts = blocks_for(voxels, kThreads, kMostBlocks);
    const LaunchShape over_voxels{{blocks_for(voxels, kThreads), samples}, kThreads};
    const LaunchShape over_pairs{{blocks_for(table.places, kThreads, kMostBlocks), samples}, kThreads};
    set_zero(stream, table.lesions, table.bytes_of_sums);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        launch(mark_found_kernel<T>, over_voxels, stream, input.logit.as<const T>(), input.target, voxels, table);
        label_components(stream, {table.found, shape, Type::u8}, {table.labels, shape, Type::i32}, table.counts,
                         pass.connectivity, table.labelling);
        launch(sum_instances_kernel<T>, {{parts, samples}, kThreads}, stream, input.logit.as<const T>(), input.target,
               input.labels, voxels, input.stride, table);
    });
    launch(add_outside_kernel, over_pairs, stream, input.stride, table);
    launch(join_instances_kernel, {1, kJoinThreads}, stream, shape.n, input.stride, std::int64_t{parts}, table, pass,
           input.step, value, write);
    launch(add_coefficients_kernel, over_pairs, stream, input.stride, table);
}

void instance_loss_gradient(Stream stream, const InstancePass& pass, const LossInput& input, const void* scratch,
                            View diff_logit, Write write) {
    formulas::require_instance_input(pass, input);
    formulas::require_gradient_of(input, diff_logit, "instance_loss");
    const Shape& shape = input.logit.shape;
    const InstanceTable table = table_of(shape, input.stride, pass.connectivity, const_cast<void*>(scratch));
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        launch(instance_gradient_kernel<T>,
               {{blocks_for(shape.voxels(), kThreads), static_cast<unsigned>(shape.n)}, kThreads}, stream,
               input.logit.as<const T>(), input.target, input.labels, shape.voxels(), input.stride, table,
               diff_logit.as<T>(), write);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
