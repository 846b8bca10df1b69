#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "apps/bench/bench_options.h"
#include "apps/bench/kernel_times.h"
#include "apps/config/config.h"
#include "base/random.h"
#include "engine/compile.h"
#include "engine/device_copy.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/plan.h"

namespace iwseg {

void bench_patch(const BenchOptions& options) {
    Context context({.device = options.device, .threads = options.threads, .tf32 = Config{}.tf32});
    const Network network = network_of(options);
    Graph graph;
    const std::int64_t side = network.padded(options.patch);
    const Tensor image = graph.input("patch", {options.batch, network.in_channels, side, side, side});
    const Tensor logits = network.build(image);
    Parameters parameters;
    Compiled made = compile(graph, context, parameters, {.bf16 = is_bf16(options), .keep = {logits}});
    const Buffer input = made[image];
    initialise(context, parameters, 0);
    parameters.place(context.backend(), context.stream(), false);
    Plan plan(context, made.program);
    std::vector<float> noise(static_cast<std::size_t>(image.shape().elements()));
    Random random(0, 0, 0, Purpose::phantom);
    for (float& value : noise) value = static_cast<float>(random.normal());
    const DeviceCopy patch(context, noise.data(), image.shape().elements());
    plan.bind(input, patch.data());
    const double seconds = median_seconds(context, options, [&] { plan.run(); });
    const std::int64_t arena = plan.bytes(), peak = peak_bytes();
    const Peaks peaks = measure_peaks(context, is_bf16(options));
    const std::vector<KernelTime> kernels = measure_kernels(plan, options.steps);
    if (options.json) {
        fmt::print("{}\n", nlohmann::ordered_json{{"device", context.description()},
                                                  {"network", options.network},
                                                  {"widths", options.widths},
                                                  {"patch", side},
                                                  {"batch", options.batch},
                                                  {"precision", options.precision},
                                                  {"patch_seconds_median", seconds},
                                                  {"arena_bytes", arena},
                                                  {"weight_bytes", 4 * parameters.learned_elements()},
                                                  {"peak_bytes", peak},
                                                  {"copy_gigabytes_per_second", peaks.gigabytes_per_second},
                                                  {"peak_gflop_per_second", peaks.gflop_per_second},
                                                  {"arithmetic", peaks.arithmetic},
                                                  {"kernels", json_of(kernels, peaks)}}
                               .dump());
        return;
    }
    print_kernels(context, kernels, peaks);
    fmt::print("batch {}, patch {}, {}: {:.4g} s (median of {}); arena {:.3f} GB, whole process {:.3f} GB\n",
               options.batch, side, options.precision, seconds, options.steps, static_cast<double>(arena) / 1e9,
               static_cast<double>(peak) / 1e9);
}

}  // namespace iwseg
