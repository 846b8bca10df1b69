#include "apps/experiments/experiment_processes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "apps/experiments/class_summary.h"
#include "apps/terminal/interrupt.h"
#include "apps/terminal/progress.h"
#include "base/error.h"
#include "base/folder.h"
#include "kernels/cpu/thread_count.h"
#include "kernels/device/backend.h"
#include "kernels/device/nvidia_card.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct Child {
    pid_t process = -1;
    fs::path log;
    int status = 0;
    bool ended = false;
};

/// Whether each process is to take a GPU of its own. Throws InputError where there are GPUs, but too few.
bool takes_gpus(const ExperimentsOptions& options) {
    const int gpus = options.device == "cpu" ? 0 : cuda::device_count();
    if (gpus > 0 && gpus < options.processes)
        throw InputError(
            fmt::format("--processes {} asks for as many GPUs, but {}; ask for fewer processes, or for --device cpu",
                        options.processes, gpus == 1 ? "there is 1" : fmt::format("there are {}", gpus)));
    return gpus > 0;
}

/// The GPU of those that there are: as CUDA_VISIBLE_DEVICES names them, else by number.
std::string visible_device(int process) {
    const char* named = std::getenv("CUDA_VISIBLE_DEVICES");
    if (!named) return std::to_string(process);
    std::vector<std::string> devices;
    std::istringstream list(named);
    for (std::string device; std::getline(list, device, ',');) devices.push_back(device);
    return devices.at(static_cast<std::size_t>(process));
}

std::vector<std::string> arguments_of(const ExperimentsOptions& options) {
    std::vector<std::string> arguments{"iwseg",     "run",
                                       "--data",    options.data.string(),
                                       "--configs", options.configs.string(),
                                       "--out",     options.out.string(),
                                       "--device",  options.device};
    for (const std::string& setting : options.settings) arguments.insert(arguments.end(), {"--set", setting});
    return arguments;
}

Child start(const ExperimentsOptions& options, bool on_gpu, int number) {
    const std::string device = on_gpu ? visible_device(number) : std::string();
    const int cores = std::max(1, count_threads().threads / options.processes);
    std::vector<std::string> arguments = arguments_of(options);
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    Child child;
    child.log = options.out / "processes" / fmt::format("{}.log", number);
    const int log = ::open(child.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (log < 0) throw InputError("cannot write " + child.log.string() + ": " + std::strerror(errno));
    const pid_t parent = ::getpid();
    child.process = ::fork();
    if (child.process == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != parent) ::_exit(1);  // it ended before the line above
        ::setpgid(0, 0);                        // Ctrl-C is for the parent, which passes it on: twice would kill
        ::dup2(log, STDOUT_FILENO);
        ::dup2(log, STDERR_FILENO);
        if (on_gpu) ::setenv("CUDA_VISIBLE_DEVICES", device.c_str(), 1);
        ::setenv("OMP_NUM_THREADS", std::to_string(cores).c_str(), 0);
        ::execv("/proc/self/exe", pointers.data());
        ::_exit(127);
    }
    ::close(log);
    if (child.process < 0) throw std::runtime_error(std::string("cannot start a process: ") + std::strerror(errno));
    return child;
}

std::string last_line(const fs::path& file) {
    std::ifstream in(file);
    std::string last;
    for (std::string line; std::getline(in, line);)
        if (!line.empty()) last = line;
    return last;
}

/// Waits, showing how many experiments have their records.
void wait_for(std::vector<Child>& children, const ExperimentsOptions& options,
              const std::vector<Experiment>& experiments) {
    const auto finished = [&] {
        return std::count_if(experiments.begin(), experiments.end(),
                             [&](const Experiment& one) { return is_evaluated(options.out / one.name); });
    };
    const InterruptGuard guard("waiting until the experiments under way have saved");
    Progress progress("run", static_cast<std::int64_t>(experiments.size()), "experiments", finished());
    bool told = false;
    for (;;) {
        bool any = false;
        for (Child& child : children) {
            if (!child.ended && ::waitpid(child.process, &child.status, WNOHANG) == child.process) child.ended = true;
            any |= !child.ended;
        }
        progress.update(finished());
        if (!any) break;
        if (InterruptGuard::requested() && !told) {
            for (const Child& child : children)
                if (!child.ended) ::kill(child.process, SIGTERM);
            told = true;  // they save what they have and end
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    if (told) throw Interrupted("interrupted; the same command goes on");
}

}  // namespace

std::string run_in_processes(const ExperimentsOptions& options, const std::vector<Experiment>& experiments) {
    const bool on_gpus = takes_gpus(options);
    if (options.device == "auto" && !on_gpus)
        if (const std::string unused = unused_card_text(cuda::why_unavailable()); !unused.empty())
            fmt::print("device   CPU{}\n", unused);
    make_folder(options.out / "processes");
    std::vector<Child> children;
    for (int number = 0; number < options.processes; ++number) children.push_back(start(options, on_gpus, number));
    wait_for(children, options, experiments);
    std::string failures;
    for (const Child& child : children)
        if (!WIFEXITED(child.status) || WEXITSTATUS(child.status) != 0)
            failures += fmt::format("{}{}: {}", failures.empty() ? "" : "; ", child.log.string(), last_line(child.log));
    return failures;
}

}  // namespace iwseg
