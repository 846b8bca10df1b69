#include "kernels/loss/instance_loss.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/loss/instance_sums.h"

// Chunks of voxels mark what is found, and once its components are known add to the sums of lesions and detections, as
// whole numbers. Pairs of a lesion and a detection that reaches it are listed chunk by chunk, sorted, and kept once.
// Most voxels are neither lesion nor found: they are passed over.
namespace iwseg::cpu {
namespace {

using formulas::FixedSum, formulas::InstancePair, formulas::InstanceTable, formulas::InstanceValue;

InstanceTable table_of(const Shape& logit, std::int64_t stride, int connectivity, void* scratch) {
    return {scratch, logit, stride, connectivity, 0, components_scratch_bytes(logit, connectivity)};
}

/// One chunk of voxels of one sample: [first, last) of the batch.
template <class T>
struct InstanceChunk {
    const T* logit;
    const LossInput& input;
    const InstanceTable& table;
    std::int64_t sample, first, last;
};

struct Marks {
    unsigned sample = 0, faults = 0;
};

template <class T>
IWSEG_VECTOR_CLONES Marks mark_found(const InstanceChunk<T>& chunk) {
    int known = 0, lesion = 0, no_number = 0;
    for (std::int64_t v = chunk.first; v < chunk.last; ++v) {
        const std::uint8_t target = chunk.input.target[v];
        const float z = to_f32(chunk.logit[v]);
        const int counts = target != kIgnored;
        chunk.table.found[v] = static_cast<std::uint8_t>(counts & static_cast<int>(formulas::is_found(z)));
        known |= counts;
        lesion |= target == 1;
        no_number |= counts & static_cast<int>(z != z);
    }
    return {(known ? formulas::kHasVoxels : 0u) | (lesion ? formulas::kHasLesions : 0u),
            no_number ? formulas::kSumIsNone : 0u};
}

/// The sum of p of what is known.
template <class T>
IWSEG_VECTOR_CLONES double sum_of_all(const InstanceChunk<T>& chunk) {
    double lanes[8] = {};
    for (std::int64_t v = chunk.first; v < chunk.last; ++v)
        lanes[v % 8] += chunk.input.target[v] == kIgnored ? 0.0f : sigmoid(to_f32(chunk.logit[v])).p;
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    return sum;
}

/// Sums of a lesion, or a detection, that go on from voxel to voxel.
struct InstanceRun {
    std::int64_t row = -1;
    FixedSum size = 0, found = 0;
    double sum = 0;
};

/// A sample's sums, which other threads add to as well.
struct InstanceSums {
    FixedSum *lesions, *detections;
    unsigned faults = 0;

    InstanceSums(const InstanceTable& table, std::int64_t sample, std::int64_t stride)
        : lesions(table.lesions + sample * stride * formulas::kLesionSums),
          detections(table.detections + sample * table.detection_stride * formulas::kDetectionSums) {}

    static void add(FixedSum& to, FixedSum what) {
        if (what != 0) std::atomic_ref(to).fetch_add(what, std::memory_order_relaxed);
    }
    void end_lesion(InstanceRun& run) {
        if (run.row >= 0) {
            FixedSum* const row = lesions + run.row * formulas::kLesionSums;
            add(row[formulas::kSize], run.size);
            add(row[formulas::kFound], run.found);
            add(row[formulas::kMissing], formulas::fixed_sum(run.sum, faults));
        }
        run = {};
    }
    void end_detection(InstanceRun& run) {
        if (run.row >= 0)
            add(detections[run.row * formulas::kDetectionSums + formulas::kBackground],
                formulas::fixed_sum(run.sum, faults));
        run = {};
    }
};

/// Adds a chunk's voxels to the sums of their lesions and detections, and lists which of these meet. Returns faults.
template <class T>
unsigned sum_instances(const InstanceChunk<T>& chunk, std::vector<InstancePair>& pairs) {
    const InstanceTable& table = chunk.table;
    InstanceSums sums(table, chunk.sample, chunk.input.stride);
    InstanceRun background, inside;
    for (std::int64_t v = chunk.first; v < chunk.last; ++v) {
        const bool lesion = chunk.input.target[v] == 1, found = table.found[v] != 0;
        if (!lesion && !found) continue;
        const Sigmoid s = sigmoid(found ? to_f32(chunk.logit[v]) : 0.0f);
        if (!lesion) {
            if (table.labels[v] != background.row) sums.end_detection(background);
            background.row = table.labels[v];
            background.sum += s.p * s.p;
            continue;
        }
        const std::int32_t label = chunk.input.labels[v];
        if (label != inside.row) sums.end_lesion(inside);
        inside.row = label;
        ++inside.size;
        if (!found) continue;
        ++inside.found;
        inside.sum += s.q;
        const InstancePair pair = formulas::pair_of(label, table.labels[v]);
        if (pairs.empty() || pairs.back() != pair) pairs.push_back(pair);
    }
    sums.end_detection(background);
    sums.end_lesion(inside);
    return sums.faults;
}

/// The values of a sample's lesions, and the coefficients of each and of the detections that reach it.
void join_lesions(const InstanceTable& table, std::int64_t sample, std::int64_t stride, std::vector<InstancePair> pairs,
                  double& sum, double& lesions) {
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    FixedSum* const rows = table.lesions + sample * stride * formulas::kLesionSums;
    FixedSum* const detections = table.detections + sample * table.detection_stride * formulas::kDetectionSums;
    float* const inside = table.inside + sample * stride;
    double* const outside = table.outside + sample * stride;
    for (const InstancePair pair : pairs)
        rows[formulas::lesion_of(pair) * formulas::kLesionSums + formulas::kOutside] +=
            detections[formulas::detection_of(pair) * formulas::kDetectionSums + formulas::kBackground];
    for (std::int64_t l = 1; l < stride; ++l) {
        const FixedSum* const row = rows + l * formulas::kLesionSums;
        if (row[formulas::kSize] == 0) continue;
        const InstanceValue lesion = formulas::value_of_lesion(row);
        sum += lesion.value;
        ++lesions;
        inside[l] = static_cast<float>(lesion.inside);
        outside[l] = lesion.outside;
    }
    for (const InstancePair pair : pairs)
        detections[formulas::detection_of(pair) * formulas::kDetectionSums + formulas::kCoefficient] +=
            formulas::fixed_coefficient(outside[formulas::lesion_of(pair)]);
}

template <class T>
IWSEG_VECTOR_CLONES void gradient_of_empty(const InstanceChunk<T>& chunk, float coefficient, T* to, Write write) {
    for (std::int64_t v = chunk.first; v < chunk.last; ++v) {
        const Sigmoid s = sigmoid(to_f32(chunk.logit[v]));
        const float gradient = chunk.input.target[v] == kIgnored ? 0.0f : coefficient * s.p * s.q;
        store(to[v], write == Write::overwrite ? gradient : to_f32(to[v]) + gradient);
    }
}

template <class T>
void gradient_of_instances(const InstanceChunk<T>& chunk, double scale, T* to, Write write) {
    const InstanceTable& table = chunk.table;
    const float* const inside = table.inside + chunk.sample * chunk.input.stride;
    const FixedSum* const detections =
        table.detections + chunk.sample * table.detection_stride * formulas::kDetectionSums;
    for (std::int64_t v = chunk.first; v < chunk.last; ++v) {
        float gradient = 0;
        if (table.found[v] && scale > 0) {
            const Sigmoid s = sigmoid(to_f32(chunk.logit[v]));
            if (chunk.input.target[v] == 1)
                gradient = static_cast<float>(scale) * inside[chunk.input.labels[v]] * s.p * s.q;
            else
                gradient =
                    formulas::background_coefficient(
                        scale,
                        detections[std::int64_t{table.labels[v]} * formulas::kDetectionSums + formulas::kCoefficient]) *
                    s.p * s.p * s.q;
        }
        if (write == Write::overwrite)
            store(to[v], gradient);
        else if (gradient != 0)
            store(to[v], to_f32(to[v]) + gradient);
    }
}

/// Calls body(chunk, its number) for all chunks of the batch.
template <class T, class Body>
void for_each_chunk(Stream stream, const LossInput& input, const InstanceTable& table, Body&& body) {
    const std::int64_t voxels = input.logit.shape.voxels(), chunks = chunks_in(voxels, 1);
    parallel_for(stream, input.logit.shape.n * chunks, [&](std::int64_t i) {
        const std::int64_t n = i / chunks, first = i % chunks * chunk_voxels(1);
        body(InstanceChunk<T>{input.logit.as<const T>(), input, table, n, n * voxels + first,
                              n * voxels + std::min(first + chunk_voxels(1), voxels)},
             i);
    });
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
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    std::vector<std::vector<InstancePair>> pairs(static_cast<std::size_t>(shape.n * chunks));
    std::vector<double> sums(pairs.size());
    std::memset(table.lesions, 0, static_cast<std::size_t>(table.bytes_of_sums));
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        for_each_chunk<T>(stream, input, table, [&](const InstanceChunk<T>& chunk, std::int64_t) {
            const Marks marks = mark_found(chunk);
            std::atomic_ref(table.samples[chunk.sample]).fetch_or(marks.sample, std::memory_order_relaxed);
            if (marks.faults) std::atomic_ref(*table.faults).fetch_or(marks.faults, std::memory_order_relaxed);
        });
        label_components(stream, {table.found, shape, Type::u8}, {table.labels, shape, Type::i32}, table.counts,
                         pass.connectivity, table.labelling);
        for_each_chunk<T>(stream, input, table, [&](const InstanceChunk<T>& chunk, std::int64_t i) {
            unsigned faults = 0;
            if (table.samples[chunk.sample] & formulas::kHasLesions)
                faults = sum_instances(chunk, pairs[static_cast<std::size_t>(i)]);
            else
                sums[static_cast<std::size_t>(i)] = sum_of_all(chunk);
            if (faults) std::atomic_ref(*table.faults).fetch_or(faults, std::memory_order_relaxed);
        });
    });
    double sum = 0, instances = 0;
    for (std::int64_t n = 0; n < shape.n; ++n) {
        if (table.samples[n] & formulas::kHasLesions) {
            std::vector<InstancePair> of_sample;
            for (std::int64_t i = n * chunks; i < (n + 1) * chunks; ++i)
                of_sample.insert(of_sample.end(), pairs[static_cast<std::size_t>(i)].begin(),
                                 pairs[static_cast<std::size_t>(i)].end());
            join_lesions(table, n, input.stride, std::move(of_sample), sum, instances);
        } else if (table.samples[n] & formulas::kHasVoxels) {
            double all = 0;
            for (std::int64_t i = n * chunks; i < (n + 1) * chunks; ++i) all += sums[static_cast<std::size_t>(i)];
            const InstanceValue empty = formulas::value_of_empty(all);
            sum += empty.value;
            ++instances;
            table.of_empty[n] = empty.outside;
        }
    }
    const double mean = formulas::mean_of_instances(sum, instances, *table.faults, pass.factor,
                                                    formulas::warmed_up(pass.warmup, input.step), table.scale);
    *value = write == Write::overwrite ? mean : *value + mean;
}

void instance_loss_gradient(Stream stream, const InstancePass& pass, const LossInput& input, const void* scratch,
                            View diff_logit, Write write) {
    formulas::require_instance_input(pass, input);
    formulas::require_gradient_of(input, diff_logit, "instance_loss");
    const InstanceTable table =
        table_of(input.logit.shape, input.stride, pass.connectivity, const_cast<void*>(scratch));
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        for_each_chunk<T>(stream, input, table, [&](const InstanceChunk<T>& chunk, std::int64_t) {
            const unsigned sample = table.samples[chunk.sample];
            if (sample & formulas::kHasLesions || !(sample & formulas::kHasVoxels))
                gradient_of_instances(chunk, *table.scale, diff_logit.as<T>(), write);
            else
                gradient_of_empty(chunk, static_cast<float>(*table.scale * table.of_empty[chunk.sample]),
                                  diff_logit.as<T>(), write);
        });
    });
}

}  // namespace iwseg::cpu
