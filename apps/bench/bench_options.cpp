#include "apps/bench/bench_options.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/error.h"
#include "engine/device_memory.h"
#include "kernels/device/arithmetic_cpu.h"
#include "kernels/device/backend.h"
#include "models/networks.h"

namespace iwseg {

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::int64_t peak_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

Network network_of(const BenchOptions& options) {
    return make_network(options.network, 1, options.widths);
}

bool is_bf16(const BenchOptions& options) {
    if (options.precision != "fp32" && options.precision != "bf16")
        throw InputError("--precision is fp32 or bf16, not " + options.precision);
    return options.precision == "bf16";
}

Peaks measure_peaks(const Context& context, bool bf16) {
    const Backend& device = context.backend();
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
    return {best / 1e9, device.arithmetic_peak(stream, bf16) / 1e9,
            device.host_memory ? cpu::arithmetic_of(cpu::instructions().set, bf16).name
            : bf16             ? "a product of bf16 matrices"
                               : "a product of f32 matrices"};
}

}  // namespace iwseg
