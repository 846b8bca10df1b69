#include "apps/bench/kernel_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace iwseg {
namespace {

/// The larger of both shares: what a kernel is bound by.
double share_of_peak(const KernelTime& k, const Peaks& peaks) {
    const double floor = std::max(k.gigabytes / peaks.gigabytes_per_second,
                                  peaks.gflop_per_second > 0 ? k.gflop / peaks.gflop_per_second : 0);
    return floor / k.seconds;
}

}  // namespace

std::vector<KernelTime> measure_kernels(Plan& plan, int steps) {
    constexpr int kAttempts = 3;
    std::vector<std::vector<double>> runs;
    plan.run_timed();
    for (int i = 0; i < kAttempts * steps && static_cast<int>(runs.size()) < steps; ++i)
        if (StepTimes times = plan.run_timed(); !times.starved) runs.push_back(std::move(times.seconds));
    if (runs.empty())
        throw std::runtime_error(
            "the host could not queue a step as fast as the device runs it; no kernel's time would be right");
    std::vector<KernelTime> kernels;
    for (std::size_t k = 0; k < plan.calls().size(); ++k) {
        const Call& call = plan.calls()[k];
        if (!call.run) continue;
        std::vector<double> seconds;
        for (const std::vector<double>& run : runs) seconds.push_back(run[k]);
        kernels.push_back({call.name, median(seconds), static_cast<double>(call.operations) / 1e9,
                           static_cast<double>(plan.bytes_moved(call)) / 1e9});
    }
    return kernels;
}

double seconds_of(const std::vector<KernelTime>& kernels) {
    return std::accumulate(kernels.begin(), kernels.end(), 0.0,
                           [](double sum, const KernelTime& k) { return sum + k.seconds; });
}

nlohmann::ordered_json json_of(const std::vector<KernelTime>& kernels, const Peaks& peaks) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const KernelTime& k : kernels)
        list.push_back({{"name", k.name},
                        {"seconds", k.seconds},
                        {"gflop", k.gflop},
                        {"gigabytes", k.gigabytes},
                        {"share_of_peak", share_of_peak(k, peaks)}});
    return list;
}

void print_kernels(const Context& context, std::vector<KernelTime> kernels, const Peaks& peaks) {
    const double total = seconds_of(kernels);
    std::stable_sort(kernels.begin(), kernels.end(),
                     [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    fmt::print("{}\nmeasured here: copying {:.1f} GB/s, arithmetic {:.0f} GFLOP/s ({})\n", context.description(),
               peaks.gigabytes_per_second, peaks.gflop_per_second, peaks.arithmetic);
    fmt::print("{:>9} {:>6} {:>9} {:>7} {:>7}  kernel\n", "ms", "share", "GFLOP/s", "GB/s", "of peak");
    for (const KernelTime& k : kernels)
        fmt::print("{:9.3f} {:5.1f}% {:>9} {:7.1f} {:6.0f}%  {}\n", k.seconds * 1e3, 100 * k.seconds / total,
                   k.gflop > 0 ? fmt::format("{:.1f}", k.gflop / k.seconds) : "", k.gigabytes / k.seconds,
                   100 * share_of_peak(k, peaks), k.name);
    fmt::print("{:9.3f} 100.0%                            all\n", total * 1e3);
}

}  // namespace iwseg
