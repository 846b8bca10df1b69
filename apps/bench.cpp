#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/commands.h"
#include "apps/step_floor.h"
#include "apps/training_session.h"
#include "data/volume.h"
#include "engine/device_copy.h"
#include "engine/device_timer.h"
#include "engine/random.h"
#include "kernels/components.h"
#include "kernels/error.h"
#include "kernels/inverse_weights.h"
#include "models/grid_prediction.h"

namespace iwseg {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchOptions {
    std::int64_t patch = 64, batch = 2, stride = 0, size = 128;
    std::vector<int> widths{16, 64, 128, 256};
    std::string precision = "fp32", loss = "iwdl", device = "auto", mask;
    FloorRates rates;
    double density = 0.02;
    int steps = 5, threads = 0, connectivity = 26;
    bool json = false;
};

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// The most memory the process has had, bytes.
std::int64_t peak_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

UnetOptions network_of(const BenchOptions& options) {
    if (options.widths.size() != 4) throw InputError("--widths takes four numbers");
    UnetOptions network;
    std::copy_n(options.widths.begin(), 4, network.widths.begin());
    return network;
}

bool is_bf16(const BenchOptions& options) {
    if (options.precision != "fp32" && options.precision != "bf16")
        throw InputError("--precision is fp32 or bf16, not " + options.precision);
    return options.precision == "bf16";
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
        initialise(parameters, 0);
    }

    Context context;
    Parameters parameters;
    Shape shape;
    Batch batch;
    std::unique_ptr<TrainingSession> session;
};

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

/// What the device can do, measured here: the ceilings that a kernel's figures are a share of.
struct Peaks {
    double gigabytes_per_second = 0, gflop_per_second = 0;
};

Peaks measure_peaks(const Context& context, bool bf16) {
    const Kernels& device = context.kernels();
    const Stream stream = context.stream();
    const std::int64_t bytes = std::min<std::int64_t>(std::int64_t{1} << 28, device.free_memory() / 4);
    const DeviceMemory from(device, bytes), to(device, bytes);
    const Shape shape{1, 1, 1, 1, bytes / 4};
    device.set_zero(stream, from.data(), bytes);
    double best = 0;
    DeviceTimer timer(context);
    for (int round = 0; round < 7; ++round) {
        timer.start();
        device.copy(stream, {from.data(), shape}, {to.data(), shape});
        timer.stop();
        best = std::max(best, 2.0 * static_cast<double>(bytes) / timer.wait());
    }
    return {best / 1e9, device.matrix_peak(stream, bf16) / 1e9};
}

/// The larger of both shares: what a kernel is bound by.
double share_of_peak(const Measured& k, const Peaks& peaks) {
    const double floor = std::max(k.gigabytes / peaks.gigabytes_per_second,
                                  peaks.gflop_per_second > 0 ? k.gflop / peaks.gflop_per_second : 0);
    return floor / k.seconds;
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
                                                  {"matrix_gflop_per_second", peaks.gflop_per_second},
                                                  {"step_seconds", total},
                                                  {"kernels", list}}
                               .dump());
        return;
    }
    std::stable_sort(kernels.begin(), kernels.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    fmt::print("{}\nmeasured here: copying {:.1f} GB/s, matrix products {:.0f} GFLOP/s\n", trained.context.description(),
               peaks.gigabytes_per_second, peaks.gflop_per_second);
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

void bench_label(const BenchOptions& options) {
    Context context({options.device, options.threads, true});
    Volume<std::int32_t> mask;
    if (options.mask.empty()) {
        mask.geometry.shape = {options.size, options.size, options.size};
        Random random(0, 0, 0, Purpose::phantom);
        for (std::int64_t i = 0; i < mask.geometry.voxels(); ++i) mask.voxels.push_back(random.uniform() < options.density);
    } else {
        mask = read_labels(options.mask);
    }
    std::vector<std::uint8_t> bytes(mask.voxels.size());
    std::transform(mask.voxels.begin(), mask.voxels.end(), bytes.begin(), [](std::int32_t v) { return v > 0; });
    std::vector<std::int32_t> labels(mask.voxels.size());
    const auto& s = mask.geometry.shape;
    const Shape shape{1, 1, s[0], s[1], s[2]};
    std::int32_t count = 0;
    const Kernels& device = context.kernels();
    const DeviceCopy masks(context, bytes.data(), shape.voxels());
    const DeviceCopy labelled(context, labels.data(), shape.voxels());
    const DeviceCopy counts(context, &count, 1);
    const DeviceMemory scratch(device, device.components_scratch_bytes(shape, options.connectivity));
    std::vector<double> seconds;
    DeviceTimer timer(context);
    for (int i = 0; i <= options.steps; ++i) {
        timer.start();
        device.label_components(context.stream(), {masks.data(), shape, Type::u8}, {labelled.data(), shape, Type::i32},
                                counts.data(), options.connectivity, scratch.data());
        timer.stop();
        if (const double taken = timer.wait(); i > 0) seconds.push_back(taken);
    }
    counts.copy_back();
    if (options.json)
        fmt::print("{}\n", nlohmann::ordered_json{{"device", context.description()},
                                                  {"voxels", shape.voxels()},
                                                  {"components", count},
                                                  {"label_seconds_median", median(seconds)}}
                               .dump());
    else
        fmt::print("{}\n{} voxels, {} components: {:.2f} ms (median of {})\n", context.description(), shape.voxels(), count,
                   median(seconds) * 1e3, options.steps);
}

void bench_predict(const BenchOptions& options) {
    Context context({options.device, options.threads, true});
    Parameters parameters;
    const std::int64_t stride = options.stride > 0 ? options.stride : std::max<std::int64_t>(1, options.patch * 9 / 10);
    GridPredictor predictor(context, parameters, network_of(options), {options.patch, stride, is_bf16(options)});
    initialise(parameters, 0);
    const std::int64_t n = options.size;
    std::vector<float> image(static_cast<std::size_t>(n * n * n));
    Random random(0, 0, 0, Purpose::phantom);
    for (float& value : image) value = static_cast<float>(random.normal());
    const auto begin = Clock::now();
    predictor.predict(image.data(), n, n, n);
    const double seconds = seconds_since(begin);
    const auto voxels = static_cast<double>(n * n * n);
    if (options.json)
        fmt::print("{}\n", nlohmann::ordered_json{{"device", context.description()},
                                                  {"size", n},
                                                  {"patch", options.patch},
                                                  {"stride", stride},
                                                  {"patches", predictor.patches(n, n, n)},
                                                  {"precision", options.precision},
                                                  {"predict_seconds", seconds},
                                                  {"voxels_per_second", voxels / seconds},
                                                  {"peak_bytes", peak_bytes()}}
                               .dump());
    else
        fmt::print("{}\n{} x {} x {} voxels, {} patches of {}: {:.2f} s, {:.2f} million voxels/s, whole process {:.3f} GB\n",
                   context.description(), n, n, n, predictor.patches(n, n, n), options.patch, seconds, voxels / seconds / 1e6,
                   static_cast<double>(peak_bytes()) / 1e9);
}

CLI::App* add_measurement(CLI::App& bench, const std::string& name, const std::string& what, void (*run)(const BenchOptions&)) {
    auto options = std::make_shared<BenchOptions>();
    CLI::App* app = bench.add_subcommand(name, what);
    if (name != "floor") app->add_option("--device", options->device, "auto, cpu or cuda");
    app->add_option("--threads", options->threads, "threads; 0: as many as the processor has cores");
    app->add_option("--steps", options->steps, "repetitions after a first one that is left out")->check(CLI::Range(1, 100000));
    app->add_flag("--json", options->json, "one JSON object instead of text");
    if (name == "label") {
        app->add_option("--mask", options->mask, "a mask to label; else noise of --size");
        app->add_option("--connectivity", options->connectivity, "6, 18 or 26");
        app->add_option("--density", options->density, "the share of lesion voxels in the noise")->check(CLI::Range(0.0, 1.0));
    } else {
        app->add_option("--patch", options->patch, "voxels along each axis")->check(CLI::Range(1, 1024));
        app->add_option("--widths", options->widths, "channels of the four levels")->expected(4)->check(CLI::Range(1, 65536));
        app->add_option("--precision", options->precision, "fp32 or bf16");
    }
    if (name == "floor") {
        app->add_option("--bandwidth", options->rates.bytes, "bytes a second");
        app->add_option("--operations", options->rates.operations, "multiplications and additions a second");
    }
    if (name == "step" || name == "kernels" || name == "floor") {
        app->add_option("--batch", options->batch, "patches a step")->check(CLI::Range(1, 4096));
        app->add_option("--loss", options->loss, "one of the ten losses");
    } else {
        app->add_option("--size", options->size, "voxels along each axis of the scan")->check(CLI::Range(1, 2048));
    }
    if (name == "predict") app->add_option("--stride", options->stride, "voxels between patches; 0: nine tenths of a patch");
    app->callback([options, run] { run(*options); });
    return app;
}

}  // namespace

void add_bench_command(CLI::App& app) {
    CLI::App* bench = app.add_subcommand("bench", "Time a training step, its kernels, labelling or prediction");
    bench->require_subcommand(1);
    bench->footer("Example:\n  iwseg bench step --patch 64 --batch 2 --json");
    add_measurement(*bench, "step", "A whole training step: forward, loss, backward, update", bench_step)
        ->footer("Example:\n  iwseg bench step --patch 64 --batch 2 --precision bf16 --json");
    add_measurement(*bench, "kernels", "Every kernel of a training step: time, arithmetic, bytes", bench_kernels)
        ->footer("Example:\n  iwseg bench kernels --patch 64");
    add_measurement(*bench, "floor", "What each kernel of a training step costs at least on a GPU", bench_floor)
        ->footer("Example:\n  iwseg bench floor --patch 128 --batch 2 --precision bf16");
    add_measurement(*bench, "label", "Connected components of a mask", bench_label)
        ->footer("Example:\n  iwseg bench label --mask lesions.nii.gz");
    add_measurement(*bench, "predict", "Prediction of a whole scan by a grid of patches", bench_predict)
        ->footer("Example:\n  iwseg bench predict --size 192 --patch 96");
}

}  // namespace iwseg
