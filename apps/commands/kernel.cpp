#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "apps/bench/bench_options.h"
#include "apps/bench/kernel_run.h"
#include "apps/commands/commands.h"
#include "base/error.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

struct KernelArguments {
    KernelCaseOptions what;
    std::vector<std::int64_t> shape{2, 16, 32, 32, 32};
    std::vector<int> kernel_size{3}, stride{1};
    bool unpadded = false;
    std::string dtype = "fp32", device = "auto", variant;
    int launches = 1, threads = 0;
    bool check = false;
};

/// Nothing where a plan's own choice is wanted.
std::optional<int> number_of(const std::string& variant) {
    if (variant.empty()) return std::nullopt;
    int number = 0;
    const auto [end, error] = std::from_chars(variant.data(), variant.data() + variant.size(), number);
    if (error != std::errc() || end != variant.data() + variant.size() || number < 0)
        throw InputError("--variant takes the number of an engine, or list, which prints them, and not " + variant);
    return number;
}

Sides sides_of(const char* option, const std::vector<int>& given) {
    if (given.size() == 1) return given[0];
    if (given.size() == 3) return {given[0], given[1], given[2]};
    throw InputError(std::string(option) + " takes one number, for all axes, or three");
}

void list_engines(const Context& context, const KernelCaseOptions& what, const KernelArguments& arguments) {
    const auto engines = kernel_engines(context.backend(), context.stream(), what);
    fmt::print("{}\nvariants of {} {} {}, in the order in which a plan comes to them:\n", context.description(),
               what.kernel, fmt::join(arguments.shape, " x "), arguments.dtype);
    std::size_t width = 0;
    for (const ConvolutionEngine& one : engines) width = std::max(width, one.name.size());
    for (std::size_t i = 0; i < engines.size(); ++i) {
        const std::string line = fmt::format("{:4}  {:{}}  {}", i, engines[i].name, width, engines[i].choice);
        fmt::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
    }
}

void run_kernel(const KernelArguments& arguments) {
    KernelCaseOptions what = arguments.what;
    what.shape = {arguments.shape[0], arguments.shape[1], arguments.shape[2], arguments.shape[3], arguments.shape[4]};
    what.type = arguments.dtype == "bf16" ? Type::bf16 : Type::f32;
    what.kernel_size = sides_of("--kernel-size", arguments.kernel_size);
    what.stride = sides_of("--stride", arguments.stride);
    what.padded = !arguments.unpadded;
    const bool list = arguments.variant == "list";
    if (!list) what.variant = number_of(arguments.variant);
    Context context({arguments.device, arguments.threads, true});
    if (list) return list_engines(context, what, arguments);
    KernelRun run(context, what);
    std::vector<double> seconds;
    DeviceTimer timer(context);
    for (int i = 0; i < arguments.launches; ++i) {
        context.backend().synchronise(context.stream());
        context.backend().begin_range(what.kernel.c_str());
        timer.start();
        run.launch();
        timer.stop();
        context.backend().end_range();
        seconds.push_back(timer.wait());
    }
    const double taken = median(seconds);
    const std::string by = run.engine().empty() ? "" : " by " + run.engine();
    fmt::print("{}\n{} {} {}{}: {:.1f} us (median of {}), {:.1f} GB/s", context.description(), what.kernel,
               fmt::join(arguments.shape, " x "), arguments.dtype, by, taken * 1e6, arguments.launches,
               run.bytes() / taken / 1e9);
    if (run.operations() > 0) fmt::print(", {:.1f} GFLOP/s", run.operations() / taken / 1e9);
    fmt::print("\n");
    if (!arguments.check) return;
    std::string wrong;
    for (const KernelDifference& d : run.check()) {
        fmt::print("{}: {:.2g} from the CPU's in f32, {:.2g} allowed\n", d.operand, d.largest, d.allowed);
        if (!d.right()) wrong += (wrong.empty() ? "" : ", ") + d.operand;
    }
    if (!wrong.empty()) throw std::runtime_error(what.kernel + " differs from the CPU's result: " + wrong);
}

}  // namespace

void add_kernel_command(CLI::App& app) {
    CLI::App* command = app.add_subcommand("kernel", "Launch one kernel by itself, to profile or to check it");
    command->footer(
        "Example:\n  iwseg kernel batch_norm_backward --shape 2 16 128 128 128 --dtype bf16 --check\n  ncu --nvtx "
        "--nvtx-include max_pool/ iwseg kernel max_pool --dtype bf16\n  iwseg kernel convolution_forward "
        "--variant "
        "list\nKernels: " +
        fmt::format("{}", fmt::join(kernel_case_names(), ", ")));
    auto arguments = std::make_shared<KernelArguments>();
    KernelArguments& a = *arguments;
    const auto positive = CLI::Range(std::int64_t{1}, std::int64_t{1} << 40);
    command->add_option("name", a.what.kernel, "which kernel")->required();
    command->add_option("--shape", a.shape, "N C D H W of what it reads")->expected(5)->check(positive);
    command->add_option("--dtype", a.dtype, "of activations: fp32 or bf16")
        ->type_name("NAME")
        ->check(CLI::IsMember({"fp32", "bf16"}));
    command->add_option("--out-channels", a.what.out_channels, "of a convolution")->check(positive);
    command->add_option("--kernel-size", a.kernel_size, "of a convolution: 1 to 7, or three of them")->expected(1, 3);
    command->add_option("--stride", a.stride, "of a convolution: 1 to 7, or three of them")->expected(1, 3);
    command->add_option("--groups", a.what.groups, "of a convolution's channels")->check(positive);
    command->add_flag("--unpadded", a.unpadded,
                      "a convolution without zeros around, such as a transposed one, of kernel = stride, is the data "
                      "gradient of");
    command
        ->add_option("--variant", a.variant,
                     "of a convolution's engines, one by its number, or list, which prints them; else the one that a "
                     "plan takes")
        ->type_name("N");
    command->add_option("--loss", a.what.loss, "of loss_value and loss_gradient");
    command->add_option("--connectivity", a.what.connectivity, "of components: 6, 18 or 26");
    command->add_option("--launches", a.launches, "how often")->check(CLI::Range(1, 1000000));
    command->add_option("--seed", a.what.seed, "of the noise it is given");
    command->add_option("--device", a.device, "auto, cpu or cuda");
    command->add_option("--threads", a.threads, "threads; 0: as many as the processor has cores");
    command->add_flag("--check", a.check, "compare with the CPU's result in f32; exit code 1 where they differ");
    command->callback([arguments] { run_kernel(*arguments); });
}

}  // namespace iwseg
