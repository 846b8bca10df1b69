#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/bench_options.h"
#include "apps/seconds_since.h"
#include "apps/step_floor.h"
#include "apps/training_session.h"
#include "engine/random.h"
#include "kernels/inverse_weights.h"
#include "models/initialisation.h"

namespace iwseg {
namespace {

using Clock = std::chrono::steady_clock;

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

/// A session on random weights, its batch bound; steps are what is measured.
struct Trained {
    explicit Trained(const BenchOptions& options)
        : context({options.device, options.threads, true}),
          shape{options.batch, 1, options.patch, options.patch, options.patch},
          batch(noise_batch(shape)) {
        TrainingOptions training;
        training.network = network_of(options);
        training.loss = loss_from_name(options.loss);
        training.bf16 = is_bf16(options);
        training.input = shape;
        session = std::make_unique<TrainingSession>(context, parameters, training);
        initialise(context, parameters, 0);
    }

    Context context;
    Parameters parameters;
    Shape shape;
    Batch batch;
    std::unique_ptr<TrainingSession> session;
};

struct Measured {
    std::string name;
    double seconds = 0, gflop = 0, gigabytes = 0;
};

/// Medians of every step of the plan.
std::vector<Measured> measure_kernels(Trained& trained, int steps) {
    Plan& plan = trained.session->plan();
    std::vector<std::vector<double>> runs;
    for (int i = 0; i <= steps; ++i) {
        trained.session->bind(trained.batch, 1e-2f);
        std::vector<double> seconds = plan.run_timed();
        if (i > 0) runs.push_back(std::move(seconds));
    }
    std::vector<Measured> kernels;
    for (std::size_t k = 0; k < plan.steps().size(); ++k) {
        const Step& step = plan.steps()[k];
        if (!step.run) continue;
        std::vector<double> seconds;
        for (const std::vector<double>& run : runs) seconds.push_back(run[k]);
        kernels.push_back({step.name, median(seconds), static_cast<double>(step.operations) / 1e9,
                           static_cast<double>(plan.bytes_moved(step)) / 1e9});
    }
    return kernels;
}

/// The larger of both shares: what a kernel is bound by.
double share_of_peak(const Measured& k, const Peaks& peaks) {
    const double floor = std::max(k.gigabytes / peaks.gigabytes_per_second,
                                  peaks.gflop_per_second > 0 ? k.gflop / peaks.gflop_per_second : 0);
    return floor / k.seconds;
}

}  // namespace

void bench_step(const BenchOptions& options) {
    Trained trained(options);
    std::vector<double> seconds;
    for (int i = 0; i <= options.steps; ++i) {
        const auto begin = Clock::now();
        trained.session->step(trained.batch, 1e-2f);
        if (i > 0) seconds.push_back(seconds_since(begin));
    }
    const std::int64_t arena = trained.session->arena_bytes();
    if (options.json) {
        fmt::print("{}\n", nlohmann::ordered_json{{"device", trained.context.description()},
                                                  {"patch", options.patch},
                                                  {"batch", options.batch},
                                                  {"widths", options.widths},
                                                  {"precision", options.precision},
                                                  {"loss", options.loss},
                                                  {"step_seconds_median", median(seconds)},
                                                  {"peak_bytes", peak_bytes()},
                                                  {"arena_bytes", arena}}
                               .dump());
        return;
    }
    fmt::print("{}\nbatch {}, patch {}, {}: {:.3f} s a step (median of {}); arena {:.3f} GB, whole process {:.3f} GB\n",
               trained.context.description(), options.batch, options.patch, options.precision, median(seconds),
               options.steps, static_cast<double>(arena) / 1e9, static_cast<double>(peak_bytes()) / 1e9);
}

void bench_kernels(const BenchOptions& options) {
    Trained trained(options);
    const Peaks peaks = measure_peaks(trained.context, is_bf16(options));
    std::vector<Measured> kernels = measure_kernels(trained, options.steps);
    double total = 0;
    for (const Measured& k : kernels) total += k.seconds;
    if (options.json) {
        nlohmann::ordered_json list = nlohmann::ordered_json::array();
        for (const Measured& k : kernels)
            list.push_back({{"name", k.name},
                            {"seconds", k.seconds},
                            {"gflop", k.gflop},
                            {"gigabytes", k.gigabytes},
                            {"share_of_peak", share_of_peak(k, peaks)}});
        fmt::print("{}\n", nlohmann::ordered_json{{"device", trained.context.description()},
                                                  {"precision", options.precision},
                                                  {"copy_gigabytes_per_second", peaks.gigabytes_per_second},
                                                  {"peak_gflop_per_second", peaks.gflop_per_second},
                                                  {"step_seconds", total},
                                                  {"kernels", list}}
                               .dump());
        return;
    }
    std::stable_sort(kernels.begin(), kernels.end(),
                     [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    fmt::print("{}\nmeasured here: copying {:.1f} GB/s, arithmetic {:.0f} GFLOP/s\n",
               trained.context.description(), peaks.gigabytes_per_second, peaks.gflop_per_second);
    fmt::print("{:>9} {:>6} {:>9} {:>7} {:>7}  kernel\n", "ms", "share", "GFLOP/s", "GB/s", "of peak");
    for (const Measured& k : kernels)
        fmt::print("{:9.3f} {:5.1f}% {:>9} {:7.1f} {:6.0f}%  {}\n", k.seconds * 1e3, 100 * k.seconds / total,
                   k.gflop > 0 ? fmt::format("{:.1f}", k.gflop / k.seconds) : "", k.gigabytes / k.seconds,
                   100 * share_of_peak(k, peaks), k.name);
    fmt::print("{:9.3f} 100.0%                            all\n", total * 1e3);
}

void bench_floor(const BenchOptions& options) {
    TrainingOptions training;
    training.network = network_of(options);
    training.loss = loss_from_name(options.loss);
    training.bf16 = is_bf16(options);
    training.input = {options.batch, 1, options.patch, options.patch, options.patch};
    training.layout = Layout::ndhwc;  // a GPU's
    print_step_floor(training, options.rates);
}

}  // namespace iwseg
