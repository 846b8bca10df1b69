#include "kernels/norm/group_norm.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/norm/norm_kernels.cuh"

// The batch in one launch of each of the kernels that normalisations share: a sample's channels are a table of their
// own, whose sums its own last block joins. Of these sums of a channel a small kernel makes the statistics of its
// group, and, of the gradients', what a group's elements share and the gradients of scale and shift.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr Joined kEach = Joined::each_table;
constexpr unsigned kMostTables = 65535;  ///< of a launch: blocks z

/// Of one sample and channel, what its group's statistics are made of: sum and sum of squares.
struct GroupMoments {
    double* moments;

    __device__ __forceinline__ void finish(std::int64_t place, double, double sum, double square) const {
        moments[2 * place] = sum;
        moments[2 * place + 1] = square;
    }
};

struct GroupGradients {
    double* sums;              ///< of one sample and channel: of g, and of g times what was normalised
    float *factors, *offsets;  ///< likewise

    __device__ __forceinline__ void finish(std::int64_t place, double sum, double product) const {
        sums[2 * place] = sum;
        sums[2 * place + 1] = product;
    }
    __device__ __forceinline__ float factor(std::int64_t place, float, float) const { return factors[place]; }
    __device__ __forceinline__ float offset(std::int64_t place, float) const { return offsets[place]; }
};

/// A thread a sample and channel. count: voxels.
__global__ void __launch_bounds__(kTableThreads)
    group_statistics_kernel(std::int64_t places, int in_group, double count, float epsilon, const double* moments,
                            BatchNormStatistics statistics) {
    const std::int64_t place = std::int64_t{blockIdx.x} * kTableThreads + threadIdx.x;
    if (place >= places) return;
    const double* const group = moments + place / in_group * in_group * 2;
    double sum = 0, square = 0;
    for (int c = 0; c < in_group; ++c) sum += group[2 * c], square += group[2 * c + 1];
    const double all = count * in_group, mean = sum / all;
    const double from_mean = square - sum * mean, squares = from_mean < 0 ? 0 : from_mean;  // a NaN is kept
    statistics.mean[place] = static_cast<float>(mean);
    statistics.inverse_deviation[place] = static_cast<float>(1.0 / sqrt(squares / all + epsilon));
}

/// share: 1 / elements of a group.
__global__ void __launch_bounds__(kTableThreads)
    group_gradients_kernel(std::int64_t samples, int channels, int in_group, double share,
                           BatchNormStatistics statistics, const float* scale, GroupGradients use, float* diff_scale,
                           float* diff_shift) {
    const std::int64_t place = std::int64_t{blockIdx.x} * kTableThreads + threadIdx.x;
    if (place >= samples * channels) return;
    const int channel = static_cast<int>(place % channels), first = channel / in_group * in_group;
    const double* group = use.sums + (place - channel + first) * 2;
    double sum = 0, product = 0;
    for (int c = 0; c < in_group; ++c) {
        sum += scale[first + c] * group[2 * c];
        product += scale[first + c] * group[2 * c + 1];
    }
    const double inverse = statistics.inverse_deviation[place];
    use.factors[place] = static_cast<float>(-inverse * inverse * product * share);
    use.offsets[place] = static_cast<float>(-inverse * sum * share);
    if (place >= channels) return;
    double all[2] = {};
    for (std::int64_t n = 0; n < samples; ++n)
        for (int s = 0; s < 2; ++s) all[s] += use.sums[2 * (n * channels + channel) + s];
    diff_shift[channel] = static_cast<float>(all[0]);
    diff_scale[channel] = static_cast<float>(all[1]);
}

// ---- launchers
// -------------------------------------------------------------------------------------------------------

/// A tensor's tables: of each sample where channels are innermost, else of each sample and channel.
struct SampleTables {
    Tables one;
    std::int64_t count;

    SampleTables(const Shape& shape, Layout layout, const char* operation)
        : one(layout == Layout::ncdhw ? Shape{1, 1, shape.d, shape.h, shape.w}
                                      : Shape{1, shape.c, shape.d, shape.h, shape.w},
              layout, operation),
          count(layout == Layout::ncdhw ? shape.n * shape.c : shape.n) {
        one.samples = count;  // blocks are shared among them
    }
    /// Calls body(first table, tables, where the first begins) for launches of at most so many.
    template <class Body>
    void each(unsigned most, Body&& body) const {
        for (std::int64_t first = 0; first < count; first += most)
            body(first, static_cast<unsigned>(std::min<std::int64_t>(count - first, most)), first * one.elements);
    }
};

/// Doubles of each sample and channel, their factors and offsets, then what blocks leave.
struct GroupScratch {
    double* sums;
    float *factors, *offsets;
    double* partial;

    GroupScratch(const Shape& shape, void* scratch) : sums(static_cast<double*>(scratch)) {
        const std::int64_t places = shape.n * shape.c;
        factors = reinterpret_cast<float*>(sums + 2 * places);
        offsets = factors + places;
        partial = sums + 3 * places;
    }
};

int in_group(const Shape& shape, std::int64_t groups, const char* operation) {
    if (groups >= 1 && shape.c % groups == 0) return static_cast<int>(shape.c / groups);
    throw std::invalid_argument(std::string(operation) + ": " + std::to_string(groups) + " groups do not divide " +
                                std::to_string(shape.c) + " channels");
}

/// As sum_grid, of a launch of so many tables: blocks of each by itself do not depend on how many there are.
LaunchShape sums_of(const SampleTables& tables, const Table& table, unsigned count) {
    LaunchShape shape = sum_grid(tables.one, table);
    shape.grid.z = count;
    return shape;
}
unsigned most_with_counters(const Table& table) {
    return std::max(1u, kStreamCounters / column_blocks(table));
}

}  // namespace

std::int64_t group_norm_scratch_bytes(const Shape& shape, Layout layout) {
    const SampleTables tables(shape, layout, "group_norm_scratch_bytes");
    return 3 * shape.n * shape.c * static_cast<std::int64_t>(sizeof(double)) + block_sums_bytes(tables.one, 2);
}

void group_norm_statistics(Stream stream, View x, std::int64_t groups, float epsilon, BatchNormStatistics statistics,
                           void* scratch) {
    const int together = in_group(x.shape, groups, "group_norm_statistics");
    const SampleTables tables(x.shape, x.layout, "group_norm_statistics");
    const GroupScratch rooms(x.shape, scratch);
    const BlockSums blocks{rooms.partial, counters_of(stream)};
    const auto count = static_cast<double>(x.shape.voxels());
    const GroupMoments use{rooms.sums};
    const auto channels = static_cast<int>(x.shape.c);
    with_table(x, tables.one, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        tables.each(most_with_counters(table), [&](std::int64_t first, unsigned some, std::int64_t at) {
            launch(moments_kernel<T, width, kEach, GroupMoments>, sums_of(tables, table, some), stream,
                   x.as<const T>() + at, table, Places<kEach>{first * table.channels, channels}, use, blocks);
        });
    });
    const std::int64_t places = x.shape.n * x.shape.c;
    const auto grid = static_cast<unsigned>((places + kTableThreads - 1) / kTableThreads);
    launch(group_statistics_kernel, {grid, kTableThreads}, stream, places, together, count, epsilon, rooms.sums,
           statistics);
}

void group_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights,
                      NormActivation activation, View y) {
    require_same(x, y, "group_norm_apply");
    const SampleTables tables(x.shape, x.layout, "group_norm_apply");
    const auto channels = static_cast<int>(x.shape.c);
    with_table(x, tables.one, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        tables.each(kMostTables, [&](std::int64_t first, unsigned some, std::int64_t at) {
            LaunchShape shape = plain_grid(table);
            shape.grid.z = some;
            launch(apply_kernel<T, width, kEach>, shape, stream, x.as<const T>() + at, table,
                   Places<kEach>{first * table.channels, channels}, statistics, weights, activation, y.as<T>() + at);
        });
    });
}

void group_norm_backward(Stream stream, View x, View diff_y, std::int64_t groups, BatchNormStatistics statistics,
                         BatchNormWeights weights, NormActivation activation, View diff_x, Write write,
                         float* diff_scale, float* diff_shift, void* scratch) {
    require_same(x, diff_y, "group_norm_backward");
    require_same(x, diff_x, "group_norm_backward");
    const int together = in_group(x.shape, groups, "group_norm_backward");
    const SampleTables tables(x.shape, x.layout, "group_norm_backward");
    const GroupScratch rooms(x.shape, scratch);
    const BlockSums blocks{rooms.partial, counters_of(stream)};
    const GroupGradients use{rooms.sums, rooms.factors, rooms.offsets};
    const auto channels = static_cast<int>(x.shape.c);
    with_table(x, tables.one, [&](auto real, auto width, const Table& table) {
        using T = decltype(real);
        const T *data = x.as<const T>(), *gradient = diff_y.as<const T>();
        const auto places = [&](std::int64_t first) { return Places<kEach>{first * table.channels, channels}; };
        tables.each(most_with_counters(table), [&](std::int64_t first, unsigned some, std::int64_t at) {
            launch(gradient_sums_kernel<T, width, kEach, GroupGradients>, sums_of(tables, table, some), stream,
                   data + at, gradient + at, table, places(first), statistics, weights, activation, use, blocks);
        });
        const double share = 1.0 / static_cast<double>(x.shape.voxels() * together);
        const auto grid = static_cast<unsigned>((x.shape.n * x.shape.c + kTableThreads - 1) / kTableThreads);
        launch(group_gradients_kernel, {grid, kTableThreads}, stream, x.shape.n, channels, together, share, statistics,
               weights.scale, use, diff_scale, diff_shift);
        tables.each(kMostTables, [&](std::int64_t first, unsigned some, std::int64_t at) {
            LaunchShape shape = plain_grid(table);
            shape.grid.z = some;
            launch(gradient_kernel<T, width, kEach, GroupGradients>, shape, stream, data + at, gradient + at, table,
                   places(first), statistics, weights, activation, use, write == Write::accumulate,
                   diff_x.as<T>() + at);
        });
    });
}

}  // namespace iwseg::IWSEG_BACKEND
