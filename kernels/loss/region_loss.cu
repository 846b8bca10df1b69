#include "kernels/loss/region_loss.h"

#include <cstdint>
#include <variant>

#include "kernels/cuda/counters.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/bf16.h"
#include "kernels/device/memory.h"
#include "kernels/loss/region_sums.h"

// One pass over the voxels for the sums of all regions: a thread adds up as far as the region stays the same, a warp
// what its threads end with, and what is left goes to the region's row by integer atomics. A block a sample makes the
// values and coefficients of its rows, one thread the loss of the samples; one more pass over the voxels, the gradient.
namespace iwseg::IWSEG_BACKEND {
namespace {

using formulas::FixedSum, formulas::kMostRegionCoefficients, formulas::kMostRegionSums, formulas::kRegionRow,
    formulas::RegionMap, formulas::RegionSample, formulas::RegionTable;

constexpr int kThreads = 256;
constexpr int kMostBlocks = 512;  ///< that sum a sample: fixed, so that sums do not depend on the card

template <class F>
struct Run {
    std::int32_t region = -1;
    unsigned voxels = 0;
    double sums[F::kSums] = {};

    __device__ __forceinline__ void begin(std::int32_t with) {
        region = with;
        voxels = 0;
#pragma unroll
        for (int k = 0; k < F::kSums; ++k) sums[k] = 0;
    }
};

template <class F, class T>
__global__ void __launch_bounds__(kThreads, 3)
    sum_regions_kernel(const T* logit, RegionMap map, F formula, std::int64_t voxels, std::int64_t stride,
                       RegionTable table) {
    const std::int64_t n = blockIdx.y;
    FixedSum* rows = table.rows + n * stride * kRegionRow;
    Run<F> run;
    unsigned faults = 0;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::int64_t at = n * voxels + v;
        const std::uint8_t target = map.target[at];
        if (target == kIgnored) continue;
        const std::int32_t region = map(at);
        if (region != run.region) {
            if (run.voxels > 0) {
                FixedSum* row = rows + std::int64_t{run.region} * kRegionRow;
#pragma unroll
                for (int k = 0; k < F::kSums; ++k) atomicAdd(row + k, formulas::fixed_sum(run.sums[k], faults));
                atomicAdd(row + kMostRegionSums, FixedSum{run.voxels});
            }
            run.begin(region);
        }
        const formulas::Voxel voxel = formulas::region_voxel(to_f32(logit[at]), target);
        float terms[F::kSums];
        formula.terms(voxel, sigmoid(voxel.z), terms);
#pragma unroll
        for (int k = 0; k < F::kSums; ++k) run.sums[k] += terms[k];
        ++run.voxels;
    }
    const std::int32_t row = run.voxels > 0 ? run.region * kRegionRow : -1;
#pragma unroll
    for (int k = 0; k < F::kSums; ++k) add_to_counter(rows + k, row, formulas::fixed_sum(run.sums[k], faults));
    add_to_counter(rows + kMostRegionSums, row, FixedSum{run.voxels});
    if (faults != 0) atomicOr(table.faults, faults);
}

/// One block a sample.
template <class F>
__global__ void __launch_bounds__(kThreads, 2)
    join_regions_kernel(F formula, std::int64_t stride, bool with_rest, RegionTable table) {
    const std::int64_t n = blockIdx.x;
    const FixedSum* rows = table.rows + n * stride * kRegionRow;
    float* coefficients = table.coefficients + n * stride * kMostRegionCoefficients;
    double value = 0, regions = 0, of_rest[F::kCoefficients] = {};
    for (std::int64_t l = threadIdx.x + (with_rest ? 1 : 0); l < stride; l += kThreads) {
        const FixedSum* row = rows + l * kRegionRow;
        if (row[kMostRegionSums] == 0) continue;
        double c[F::kCoefficients] = {};
        value += formulas::value_of_region(formula, row, with_rest ? rows : nullptr, c);
        regions += 1;
#pragma unroll
        for (int k = 0; k < F::kCoefficients; ++k) {
            coefficients[l * kMostRegionCoefficients + k] = formulas::as_coefficient(c[k]);
            of_rest[k] += c[k];
        }
    }
    value = block_sum<kThreads>(value);
    regions = block_sum<kThreads>(regions);
#pragma unroll
    for (int k = 0; k < F::kCoefficients; ++k) {
        const double sum = block_sum<kThreads>(of_rest[k]);
        if (threadIdx.x == 0 && with_rest) coefficients[k] = formulas::as_coefficient(sum);
    }
    if (threadIdx.x == 0) table.samples[n] = {value, regions, 0};
}

/// One thread.
__global__ void join_samples_kernel(RegionTable table, std::int64_t n, float warmup, const float* step, double* value,
                                    Write write) {
    const double found = formulas::value_of_samples(table.samples, n, *table.faults, formulas::warmed_up(warmup, step));
    *value = write == Write::overwrite ? found : *value + found;
}

template <class F, class T>
__global__ void __launch_bounds__(kThreads)
    region_gradient_kernel(const T* logit, RegionMap map, F formula, std::int64_t voxels, std::int64_t stride,
                           RegionTable table, T* diff_logit, Write write) {
    const std::int64_t n = blockIdx.y;
    const float* coefficients = table.coefficients + n * stride * kMostRegionCoefficients;
    const auto scale = static_cast<float>(table.samples[n].scale);
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::int64_t at = n * voxels + v;
        const formulas::Voxel voxel = formulas::region_voxel(to_f32(logit[at]), map.target[at]);
        float gradient = 0;
        if (voxel.w > 0 && scale > 0) {
            float c[F::kCoefficients];
            const float* from = coefficients + std::int64_t{map(at)} * kMostRegionCoefficients;
#pragma unroll
            for (int k = 0; k < F::kCoefficients; ++k) c[k] = scale * __ldg(from + k);
            gradient = formula.gradient(voxel, sigmoid(voxel.z), c);
        }
        store(diff_logit[at], write == Write::overwrite ? gradient : to_f32(diff_logit[at]) + gradient);
    }
}

/// Calls body(an element of the type, formula), whose types are known when compiled.
template <class Body>
void with_kernel(const RegionPass& pass, const LossInput& input, Body&& body) {
    with_real(input.logit.type,
              [&](auto real) { std::visit([&](const auto& formula) { body(real, formula); }, pass.formula); });
}

}  // namespace

std::int64_t region_loss_scratch_bytes(const Shape& logit, std::int64_t stride) {
    return RegionTable::bytes(logit.n, stride);
}

void region_loss_value(Stream stream, const RegionPass& pass, const LossInput& input, void* scratch, double* value,
                       Write write) {
    const RegionMap map = formulas::region_map(pass, input);
    const Shape& shape = input.logit.shape;
    const RegionTable table(scratch, shape.n, input.stride);
    const auto samples = static_cast<unsigned>(shape.n);
    set_zero(stream, table.rows, RegionTable::bytes_of_sums(shape.n, input.stride));
    with_kernel(pass, input, [&](auto real, auto formula) {
        using T = decltype(real);
        using F = decltype(formula);
        launch(sum_regions_kernel<F, T>, {{blocks_for(shape.voxels(), kThreads, kMostBlocks), samples}, kThreads},
               stream, input.logit.as<const T>(), map, formula, shape.voxels(), input.stride, table);
        launch(join_regions_kernel<F>, {samples, kThreads}, stream, formula, input.stride,
               pass.regions == LossRegions::lesion_and_rest, table);
    });
    launch(join_samples_kernel, {1, 1}, stream, table, shape.n, pass.warmup, input.step, value, write);
}

void region_loss_gradient(Stream stream, const RegionPass& pass, const LossInput& input, const void* scratch,
                          View diff_logit, Write write) {
    const RegionMap map = formulas::region_map(pass, input);
    formulas::require_gradient_of(input, diff_logit, "region_loss");
    const Shape& shape = input.logit.shape;
    const RegionTable table(const_cast<void*>(scratch), shape.n, input.stride);
    with_kernel(pass, input, [&](auto real, auto formula) {
        using T = decltype(real);
        launch(region_gradient_kernel<decltype(formula), T>,
               {{blocks_for(shape.voxels(), kThreads), static_cast<unsigned>(shape.n)}, kThreads}, stream,
               input.logit.as<const T>(), map, formula, shape.voxels(), input.stride, table, diff_logit.as<T>(), write);
    });
}

}  // namespace iwseg::IWSEG_BACKEND
