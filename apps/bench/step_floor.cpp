#include "apps/bench/step_floor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "engine/plan.h"
#include "kernels/convolution/narrow.h"

namespace iwseg {
namespace {

/// What a GPU's convolution says of itself where it is the narrow one wherever that takes it; it is never run.
class CountedConvolution final : public Convolution {
  public:
    explicit CountedConvolution(const ConvolutionOptions& options) : options_(options) {}

    std::string implementation() const override { return "counted"; }
    std::int64_t scratch_bytes() const override { return 0; }
    bool adds_elsewhere() const override { return true; }
    std::int64_t sums_bytes() const override {
        return options_.sums && takes_narrow(options_) ? narrow_sums_bytes(options_.dst()) : 0;
    }
    NormalisingPasses normalises() const override {
        const bool does = options_.normalises && takes_narrow(options_);
        return {does, does};
    }
    void forward(Stream, View, const float*, const float*, View, void*) override { refuse(); }
    void backward_data(Stream, View, const float*, View, void*) override { refuse(); }
    void backward_weights(Stream, View, View, float*, float*, void*) override { refuse(); }

  private:
    static void refuse() { throw std::logic_error("a step that is only counted is run"); }

    ConvolutionOptions options_;
};

/// The CPU's functions, by which a plan is made anywhere, with a GPU's layout and convolutions.
const Backend& counted_kernels() {
    static const Backend table = [] {
        Backend counted = cpu::backend();
        counted.preferred_layout = [](std::int64_t) { return Layout::ndhwc; };
        counted.make_convolution = [](Stream, const ConvolutionOptions& options,
                                      ConvolutionPasses) -> std::unique_ptr<Convolution> {
            return std::make_unique<CountedConvolution>(options);
        };
        return counted;
    }();
    return table;
}

}  // namespace

void print_step_floor(const TrainingOptions& options, const FloorRates& rates) {
    Context context(counted_kernels(), {});
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
