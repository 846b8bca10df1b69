#include "engine/context.h"

#include <omp.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "kernels/error.h"

namespace iwseg {
namespace {

std::string processor_name() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown processor";
}

const char* instruction_set() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw")) return "AVX-512";
    if (__builtin_cpu_supports("avx2")) return "AVX2";
#endif
    return "baseline";
}

}  // namespace

Context::Context(const ContextOptions& options) : deterministic_(options.deterministic) {
    if (options.device == "cuda") {
        device_ = Device::cuda;
        kernels_ = &cuda::kernels();
    } else if (options.device == "auto" || options.device == "cpu") {
        kernels_ = &cpu::kernels();
    } else {
        throw InputError("unknown device " + options.device + ": expected auto, cpu or cuda");
    }
    threads_ = options.threads > 0 ? options.threads : omp_get_max_threads();
    omp_set_num_threads(threads_);
}

std::string Context::description() const {
    return processor_name() + ", " + instruction_set() + ", " + std::to_string(threads_) +
           (threads_ == 1 ? " thread" : " threads");
}

}  // namespace iwseg
