#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/bench/bench_options.h"
#include "engine/context.h"
#include "engine/plan.h"

namespace iwseg {

/// One call of a plan.
struct KernelTime {
    std::string name;
    double seconds = 0, gflop = 0, gigabytes = 0;
};

/// Medians of so many runs of a plan that is bound, on the device's own clock. Throws std::runtime_error where the host
/// cannot queue the calls as fast as the device runs them.
std::vector<KernelTime> measure_kernels(Plan& plan, int steps);

/// Of all of them.
double seconds_of(const std::vector<KernelTime>& kernels);
nlohmann::ordered_json json_of(const std::vector<KernelTime>& kernels, const Peaks& peaks);
/// As a table, the slowest first.
void print_kernels(const Context& context, std::vector<KernelTime> kernels, const Peaks& peaks);

}  // namespace iwseg
