#include "apps/bench/step_floor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "engine/plan.h"

namespace iwseg {
void print_step_floor(const TrainingOptions& options, const FloorRates& rates) {
    Context context({"cpu"});
    Parameters parameters;
    TrainingSession session(context, parameters, options);
    struct Sum {
        int calls = 0;
        double gflop = 0, megabytes = 0, microseconds = 0;
    };
    std::map<std::string, Sum> kinds;
    const auto print = [](const Sum& sum, const std::string& name) {
        fmt::print("{:5} {:9.1f} {:9.1f} {:9.1f}  {}\n", sum.calls, sum.gflop, sum.megabytes, sum.microseconds, name);
    };
    fmt::print("batch {}, patch {}, {}; at {:.2f} TB/s and {:.0f} TFLOP/s\n{:>5} {:>9} {:>9} {:>9}  kernel\n",
               options.input.n, options.input.d, options.bf16 ? "bf16" : "fp32", rates.bytes / 1e12,
               rates.operations / 1e12, "calls", "GFLOP", "MB", "us");
    for (const Call& call : session.plan().calls()) {
        // A GPU's convolutions read what they add to where it lies; the CPU's, whose plan this is, a copy of it.
        if (!call.run || call.copies_only) continue;
        const auto bytes = static_cast<double>(session.plan().bytes_moved(call)),
                   work = static_cast<double>(call.operations);
        const Sum one{1, work / 1e9, bytes / 1e6, std::max(bytes / rates.bytes, work / rates.operations) * 1e6};
        print(one, call.name);
        for (Sum* sum : {&kinds[call.kind], &kinds["all"]}) {
            ++sum->calls;
            sum->gflop += one.gflop, sum->megabytes += one.megabytes, sum->microseconds += one.microseconds;
        }
    }
    fmt::print("\nby kind\n");
    for (const auto& [name, sum] : kinds) print(sum, name);
}

}  // namespace iwseg
