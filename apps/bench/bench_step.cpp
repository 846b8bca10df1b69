#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/bench/bench_options.h"
#include "apps/bench/kernel_times.h"
#include "apps/bench/step_floor.h"
#include "apps/config/config.h"
#include "base/random.h"
#include "base/seconds_since.h"
#include "data/sampling.h"
#include "engine/initialisation.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/device/backend.h"
#include "training/session.h"

namespace iwseg {
namespace {

using Clock = std::chrono::steady_clock;

/// Steps left out of a measurement: the first warms up; a device that records work does so in the second.
int steps_before(const Context& context) {
    return context.backend().host_memory ? 1 : 2;
}

/// As a training has it where its configuration says nothing.
Context context_of(const BenchOptions& options) {
    return Context({.device = options.device, .threads = options.threads, .tf32 = Config{}.tf32});
}

/// Noise with 2 % of lesion voxels in two components: the work of a step does not depend on what it sees.
Batch noise_batch(const Shape& shape) {
    Batch batch;
    batch.shape = shape;
    Random random(0, 0, 0, Purpose::phantom);
    for (std::int64_t i = 0; i < shape.elements(); ++i) batch.image.push_back(static_cast<float>(random.normal()));
    for (std::int64_t i = 0; i < shape.n * shape.voxels(); ++i) {
        batch.labels.push_back(random.uniform() < 0.98 ? 0 : 1 + static_cast<std::int32_t>(random.below(2)));
        batch.target.push_back(batch.labels.back() > 0);
    }
    batch.stride = 3;
    batch.weights.resize(static_cast<std::size_t>(shape.n * batch.stride));
    cpu::inverse_weight_table({}, {batch.labels.data(), {shape.n, 1, shape.d, shape.h, shape.w}, Type::i32},
                              batch.weights.data(), batch.stride, {});
    return batch;
}

/// A scan from which patches of half its sides are cut, with two lesions.
PreparedCase noise_scan(std::int64_t patch) {
    PreparedCase scan;
    const std::int64_t side = 2 * patch;
    scan.geometry.shape = {side, side, side};
    scan.channels = 1;
    scan.image.resize(static_cast<std::size_t>(side * side * side));
    Random random(0, 0, 0, Purpose::phantom);
    for (float& value : scan.image) value = static_cast<float>(random.normal());
    scan.minimum = {*std::min_element(scan.image.begin(), scan.image.end())};
    std::vector<std::uint8_t> mask(scan.image.size());
    mask.front() = mask.back() = 1;
    scan.lesions = list_components(mask, scan.geometry.shape, 26);
    return scan;
}

PatchSampler noise_sampler(const BenchOptions& options) {
    SamplingOptions sampling;
    sampling.patch = {options.patch, options.patch, options.patch};
    sampling.batch = options.batch;
    std::vector<PreparedCase> scans;
    scans.push_back(noise_scan(options.patch));
    return {std::move(scans), sampling};
}

/// A session on random weights, its batch bound; steps are what is measured.
struct Trained {
    /// sampler: may be null; must outlive this.
    Trained(Context& used, const BenchOptions& options, const PatchSampler* sampler = nullptr)
        : context(used),
          shape{options.batch, 1, options.patch, options.patch, options.patch},
          batch(noise_batch(shape)) {
        TrainingOptions training;
        training.network = network_of(options);
        training.loss = loss_from_name(options.loss);
        training.bf16 = is_bf16(options);
        training.input = shape;
        if (sampler) training.cutting = sampler->cutting();
        session = std::make_unique<TrainingSession>(context, parameters, training);
        initialise(context, parameters, 0);
    }

    Context& context;
    Parameters parameters;
    Shape shape;
    Batch batch;
    std::unique_ptr<TrainingSession> session;
};

constexpr float kRate = 1e-2f;

/// Median seconds of a step alone, of a batch that is there already: from the host's call to the answer.
double seconds_alone(Trained& trained, int steps) {
    trained.session->bind(trained.batch, kRate);
    std::vector<double> seconds;
    for (int i = -steps_before(trained.context); i < steps; ++i) {
        const auto begin = Clock::now();
        trained.session->run();
        if (i >= 0) seconds.push_back(seconds_since(begin));
    }
    return median(std::move(seconds));
}

/// Median seconds from one step's end to the next's, as in training: `bind` gives the next step its input while one is
/// at work.
template <class Bind>
double seconds_in_a_row(Trained& trained, int steps, Bind&& bind) {
    bind();
    std::vector<double> seconds;
    auto begin = Clock::now();
    for (int i = -steps_before(trained.context); i < steps; ++i) {
        trained.session->start();
        bind();
        trained.session->finish();
        if (i >= 0) seconds.push_back(seconds_since(begin));
        begin = Clock::now();
    }
    return median(std::move(seconds));
}

}  // namespace

void bench_step(const BenchOptions& options) {
    Context context = context_of(options);
    // On the CPU a batch is used where it lies, and patches are cut by other threads.
    const bool device_memory = !context.backend().host_memory;
    std::optional<PatchSampler> sampler;
    if (device_memory) sampler.emplace(noise_sampler(options));
    Trained trained(context, options, sampler ? &*sampler : nullptr);
    const double alone = seconds_alone(trained, options.steps);
    const std::int64_t scans = trained.session->resident_bytes(), arena = trained.session->arena_bytes();
    std::optional<double> host_fed, resident;
    if (device_memory)
        host_fed = seconds_in_a_row(trained, options.steps, [&] { trained.session->bind(trained.batch, kRate); });
    std::uint64_t step = 0;
    if (scans > 0)
        resident =
            seconds_in_a_row(trained, options.steps, [&] { trained.session->bind(sampler->places(step++), kRate); });
    if (options.json) {
        nlohmann::ordered_json json{{"device", trained.context.description()},
                                    {"patch", options.patch},
                                    {"batch", options.batch},
                                    {"network", options.network},
                                    {"widths", options.widths},
                                    {"precision", options.precision},
                                    {"loss", options.loss},
                                    {"step_seconds_median", alone}};
        if (host_fed) json["host_fed_step_seconds_median"] = *host_fed;
        if (resident) json["resident_step_seconds_median"] = *resident;
        json["peak_bytes"] = peak_bytes();
        json["arena_bytes"] = arena;
        fmt::print("{}\n", json.dump());
        return;
    }
    fmt::print("{}\nbatch {}, patch {}, {}: {:.4g} s a step (median of {}); arena {:.3f} GB, whole process {:.3f} GB\n",
               trained.context.description(), options.batch, options.patch, options.precision, alone, options.steps,
               static_cast<double>(arena) / 1e9, static_cast<double>(peak_bytes()) / 1e9);
    if (host_fed) fmt::print("step after step, each batch copied from the host: {:.4g} s\n", *host_fed);
    if (resident) fmt::print("step after step, patches cut from scans on the device: {:.4g} s\n", *resident);
}

void bench_kernels(const BenchOptions& options) {
    Context context = context_of(options);
    Trained trained(context, options);
    const Peaks peaks = measure_peaks(context, is_bf16(options));
    trained.session->bind(trained.batch, kRate);
    const std::vector<KernelTime> kernels = measure_kernels(trained.session->plan(), options.steps);
    if (options.json)
        fmt::print("{}\n", nlohmann::ordered_json{{"device", context.description()},
                                                  {"precision", options.precision},
                                                  {"copy_gigabytes_per_second", peaks.gigabytes_per_second},
                                                  {"peak_gflop_per_second", peaks.gflop_per_second},
                                                  {"arithmetic", peaks.arithmetic},
                                                  {"step_seconds", seconds_of(kernels)},
                                                  {"kernels", json_of(kernels, peaks)}}
                               .dump());
    else
        print_kernels(context, kernels, peaks);
}

void bench_floor(const BenchOptions& options) {
    TrainingOptions training;
    training.network = network_of(options);
    training.loss = loss_from_name(options.loss);
    training.bf16 = is_bf16(options);
    training.input = {options.batch, 1, options.patch, options.patch, options.patch};
    print_step_floor(training, options.rates);
}

}  // namespace iwseg
