#include "apps/bench/step_profile.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"

namespace iwseg {

void StepProfile::add_bar(const std::string& name, double seconds, const std::string& arguments) {
    events_.push_back(fmt::format(
        R"({{"name": {}, "cat": "step {}", "ph": "X", "pid": 1, "tid": 1, "ts": {:.3f}, "dur": {:.3f}, "args": {{{}}}}})",
        nlohmann::json(name).dump(), taken_, now_ * 1e6, seconds * 1e6, arguments));
    now_ += seconds;
}

void StepProfile::add(const Plan& plan, const StepTimes& times, double wait) {
    ++taken_;
    add_bar("wait for data", wait,
            times.starved ? R"("then": "the device waited for the host, short kernels seem longer")" : "");
    for (std::size_t i = 0; i < times.seconds.size(); ++i) {
        const Call& call = plan.calls()[i];
        if (!call.run) continue;
        events_.push_back(
            fmt::format(R"({{"name": "arena", "ph": "C", "pid": 1, "ts": {:.3f}, "args": {{"bytes in use": {}}}}})",
                        now_ * 1e6, plan.live_bytes(static_cast<int>(i))));
        add_bar(call.name, times.seconds[i],
                fmt::format(R"("bytes": {}, "operations": {})", plan.bytes_moved(call), call.operations));
    }
}

void StepProfile::write(const std::filesystem::path& file) const {
    std::string text = R"({"displayTimeUnit": "ms", "traceEvents": [)";
    text += "\n" + fmt::format("{}", fmt::join(events_, ",\n")) + "\n]}\n";
    write_text(file, text);
}

}  // namespace iwseg
