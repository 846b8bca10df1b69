#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/bench/step_floor.h"
#include "engine/context.h"
#include "models/network.h"

/// What the measurements of `iwseg bench` share.
namespace iwseg {

struct BenchOptions {
    std::int64_t patch = 64, batch = 2, stride = 0, size = 128;
    std::vector<std::int64_t> shape;  ///< of a scan that is no cube
    std::string network = "unet";
    std::vector<int> widths{16, 64, 128, 256};
    std::string precision = "fp32", loss = "iwdl", device = "auto", mask, image;
    FloorRates rates;
    double density = 0.02;
    int steps = 5, threads = 0, connectivity = 26;
    bool json = false;
};

/// Each prints what it measured, or one JSON object.
void bench_step(const BenchOptions& options);
void bench_kernels(const BenchOptions& options);
void bench_floor(const BenchOptions& options);
void bench_label(const BenchOptions& options);
void bench_weights(const BenchOptions& options);
void bench_loss(const BenchOptions& options);
void bench_predict(const BenchOptions& options);
void bench_patch(const BenchOptions& options);
void bench_read(const BenchOptions& options);

double median(std::vector<double> values);
/// The most memory the process has had, bytes.
std::int64_t peak_bytes();
/// Throw InputError on what no network or precision can be.
Network network_of(const BenchOptions& options);
bool is_bf16(const BenchOptions& options);

/// What the device can do, measured here: the ceilings that a kernel's figures are a share of.
struct Peaks {
    double gigabytes_per_second = 0, gflop_per_second = 0;
    std::string arithmetic;  ///< what the latter was measured by: "f32 by FMA of AVX2"
};
Peaks measure_peaks(const Context& context, bool bf16);

/// Medians of `options.steps` runs after a first one that is left out, s on the device's own clock.
template <class Run>
double median_seconds(const Context& context, const BenchOptions& options, Run&& run);

}  // namespace iwseg

#include "engine/device_timer.h"

namespace iwseg {

template <class Run>
double median_seconds(const Context& context, const BenchOptions& options, Run&& run) {
    std::vector<double> seconds;
    DeviceTimer timer(context);
    for (int i = 0; i <= options.steps; ++i) {
        timer.start();
        run();
        timer.stop();
        if (const double taken = timer.wait(); i > 0) seconds.push_back(taken);
    }
    return median(std::move(seconds));
}

}  // namespace iwseg
