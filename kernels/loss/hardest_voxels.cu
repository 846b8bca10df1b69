#include "kernels/loss/hardest_voxels.h"

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/bf16.h"
#include "kernels/device/memory.h"
#include "kernels/loss/hardest_selection.h"

// The threshold is found digit by digit of the keys' bits, the highest first: a histogram of those voxels that agree
// with it so far, of integers, then one block that takes from its upper end what still fits. Keys are computed once and
// read three times more, four bytes a voxel.
namespace iwseg::IWSEG_BACKEND {
namespace {

using formulas::HardestSelection, formulas::HardKey;

constexpr int kThreads = 256;
constexpr int kMostBlocks = 256;  ///< fixed, so that sums do not depend on the card
constexpr int kDigits = 3, kBins = 2048;
constexpr int kBinsPerThread = kBins / kThreads;
constexpr HardKey kNotKnown = 0xFFFFFFFFu;  ///< no key has its highest bit

/// Scratch: which voxels count, histograms, sums of blocks, keys.
struct Scratch {
    HardestSelection* selection;
    unsigned* bins;  ///< (kDigits, kBins)
    double* parts;
    HardKey* keys;
};
Scratch scratch_in(void* memory) {
    static_assert(sizeof(HardestSelection) % sizeof(double) == 0);
    auto* selection = static_cast<HardestSelection*>(memory);
    auto* bins = reinterpret_cast<unsigned*>(selection + 1);
    auto* parts = reinterpret_cast<double*>(bins + kDigits * kBins);
    return {selection, bins, parts, reinterpret_cast<HardKey*>(parts + kMostBlocks)};
}

/// A key's 31 bits are digits of 11, 11 and 9.
__device__ __forceinline__ int shift_of(int digit) {
    return digit == 0 ? 20 : digit == 1 ? 9 : 0;
}
/// Bits of a key above a digit, and the digit.
__device__ __forceinline__ HardKey before_digit(HardKey key, int digit) {
    return digit == 0 ? 0u : key >> shift_of(digit - 1);
}
__device__ __forceinline__ unsigned digit_of(HardKey key, int digit) {
    const int bits = digit == kDigits - 1 ? 9 : 11;
    return key >> shift_of(digit) & ((1u << bits) - 1);
}

__device__ __forceinline__ void clear_bins(unsigned* bins) {
    for (int i = threadIdx.x; i < kBins; i += kThreads) bins[i] = 0;
    __syncthreads();
}
__device__ __forceinline__ void add_bins(const unsigned* bins, unsigned* to) {
    __syncthreads();
    for (int i = threadIdx.x; i < kBins; i += kThreads)
        if (bins[i] > 0) atomicAdd(to + i, bins[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    find_keys_kernel(const T* logit, const std::uint8_t* target, std::int64_t voxels, Scratch scratch) {
    SHARED(unsigned, bins, kBins);
    clear_bins(bins);
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::uint8_t truth = target[v];
        const HardKey key = truth == kIgnored ? kNotKnown : formulas::hard_key(to_f32(logit[v]), truth == 1);
        scratch.keys[v] = key;
        if (key != kNotKnown) atomicAdd(bins + digit_of(key, 0), 1u);
    }
    add_bins(bins, scratch.bins);
}

__global__ void __launch_bounds__(kThreads) count_digit_kernel(std::int64_t voxels, int digit, Scratch scratch) {
    SHARED(unsigned, bins, kBins);
    clear_bins(bins);
    const HardKey before = before_digit(scratch.selection->threshold, digit);
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const HardKey key = scratch.keys[v];
        if (key != kNotKnown && before_digit(key, digit) == before) atomicAdd(bins + digit_of(key, digit), 1u);
    }
    add_bins(bins, scratch.bins + digit * kBins);
}

/// One block: the digit of the last voxel that counts, and how many count with that digit.
__global__ void __launch_bounds__(kThreads) take_digit_kernel(Scratch scratch, int digit, float percent) {
    SHARED(std::uint64_t, counts, kThreads);
    const unsigned* bins = scratch.bins + digit * kBins;
    std::uint64_t count = 0;
    for (int i = 0; i < kBinsPerThread; ++i) count += bins[threadIdx.x * kBinsPerThread + i];
    counts[threadIdx.x] = count;
    __syncthreads();
    if (threadIdx.x != 0) return;
    HardestSelection selection = *scratch.selection;
    if (digit == 0) {
        std::uint64_t known = 0;
        for (int i = 0; i < kThreads; ++i) known += counts[i];
        selection.begin(percent, known);
    }
    if (selection.wanted > 0) {
        int group = kThreads - 1;
        for (; counts[group] < selection.left; --group) selection.left -= counts[group];
        int bin = (group + 1) * kBinsPerThread - 1;
        for (; bins[bin] < selection.left; --bin) selection.left -= bins[bin];
        selection.threshold |= static_cast<HardKey>(bin) << shift_of(digit);
    }
    *scratch.selection = selection;
}

__global__ void __launch_bounds__(kThreads) sum_hardest_kernel(std::int64_t voxels, Scratch scratch) {
    const HardKey threshold = scratch.selection->threshold;
    double sum = 0;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const HardKey key = scratch.keys[v];
        if (key != kNotKnown && key > threshold) sum += formulas::entropy_of(key);
    }
    sum = block_sum<kThreads>(sum);
    if (threadIdx.x == 0) scratch.parts[blockIdx.x] = sum;
}

/// One block.
__global__ void __launch_bounds__(kThreads)
    join_hardest_kernel(Scratch scratch, int parts, HardestPass pass, const float* step, double* value, Write write) {
    const double sum = block_sum<kThreads>(static_cast<int>(threadIdx.x) < parts ? scratch.parts[threadIdx.x] : 0.0);
    if (threadIdx.x != 0) return;
    const unsigned last = digit_of(scratch.selection->threshold, kDigits - 1);
    const double found = scratch.selection->finish(sum, scratch.bins[(kDigits - 1) * kBins + last], pass, step);
    *value = write == Write::overwrite ? found : *value + found;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    hardest_gradient_kernel(const T* logit, const std::uint8_t* target, std::int64_t voxels, Scratch scratch,
                            T* diff_logit, Write write) {
    const HardestSelection selection = *scratch.selection;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const HardKey key = scratch.keys[v];
        const float gradient = key == kNotKnown ? 0.0f : selection.gradient(to_f32(logit[v]), target[v] == 1, key);
        store(diff_logit[v], write == Write::accumulate ? to_f32(diff_logit[v]) + gradient : gradient);
    }
}

}  // namespace

std::int64_t hardest_voxels_scratch_bytes(const Shape& logit) {
    return static_cast<std::int64_t>(sizeof(HardestSelection)) +
           kDigits * kBins * static_cast<std::int64_t>(sizeof(unsigned)) +
           kMostBlocks * static_cast<std::int64_t>(sizeof(double)) +
           logit.elements() * static_cast<std::int64_t>(sizeof(HardKey));
}

void hardest_voxels_value(Stream stream, const HardestPass& pass, const LossInput& input, void* memory, double* value,
                          Write write) {
    formulas::require_hardest_input(input);
    const Scratch scratch = scratch_in(memory);
    const std::int64_t voxels = input.logit.shape.elements();
    const unsigned blocks = blocks_for(voxels, kThreads * 4, kMostBlocks);
    set_zero(stream, memory,
             static_cast<std::int64_t>(sizeof(HardestSelection)) +
                 kDigits * kBins * static_cast<std::int64_t>(sizeof(unsigned)));
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        launch(find_keys_kernel<T>, {blocks, kThreads}, stream, input.logit.as<const T>(), input.target, voxels,
               scratch);
    });
    for (int digit = 0; digit < kDigits; ++digit) {
        if (digit > 0) launch(count_digit_kernel, {blocks, kThreads}, stream, voxels, digit, scratch);
        launch(take_digit_kernel, {1, kThreads}, stream, scratch, digit, pass.percent);
    }
    launch(sum_hardest_kernel, {blocks, kThreads}, stream, voxels, scratch);
    launch(join_hardest_kernel, {1, kThreads}, stream, scratch, static_cast<int>(blocks), pass, input.step, value,
           write);
}

void hardest_voxels_gradient(Stream stream, const HardestPass&, const LossInput& input, const void* memory,
                             View diff_logit, Write write) {
    formulas::require_hardest_input(input);
    require_same_form(input.logit, diff_logit, "hardest_voxels");
    const std::int64_t voxels = input.logit.shape.elements();
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        launch(hardest_gradient_kernel<T>, {blocks_for(voxels, kThreads), kThreads}, stream, input.logit.as<const T>(),
               input.target, voxels, scratch_in(const_cast<void*>(memory)), diff_logit.as<T>(), write);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
