#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace iwseg {

/// More than this are refused, whoever asks for them.
constexpr int kMostThreads = 4096;

/// How many threads are worth starting, and the reason, for people.
struct ThreadCount {
    int threads = 1;
    std::string reason;  ///< "all 8 cores", "OMP_NUM_THREADS", …

    /// "1 thread (…)", "4 threads (…)"
    std::string text() const;
};

/// What limits it.
struct ProcessorShare {
    int cores = 1;                ///< of the machine
    int allowed = 1;              ///< that this process may run on: its affinity (taskset, SLURM, cpusets)
    std::optional<double> quota;  ///< processors' worth of time that its control groups grant
    std::string wanted;           ///< OMP_NUM_THREADS, or empty
};

/// This process's.
ProcessorShare processor_share();

/// OMP_NUM_THREADS where it is a count up to kMostThreads, or a list of which the first is one, as OpenMP takes it;
/// else as many as the process may run on, and no more than its quota, rounded up, keeps busy.
ThreadCount count_threads(const ProcessorShare& share);

/// As count_threads(processor_share()) has it; wanted: that many, where it is above 0. Throws InputError where that is
/// more than kMostThreads.
ThreadCount count_threads(int wanted = 0);

/// The smallest quota of the control groups that a process is in, in processors: of its own group and of all around it,
/// which may set less; nothing where none sets any. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us).
/// cgroups, mounts: its /proc/PID/cgroup and /proc/PID/mountinfo. root: put before the paths that these name.
std::optional<double> cgroup_quota(const std::filesystem::path& cgroups, const std::filesystem::path& mounts,
                                   const std::filesystem::path& root = "/");

}  // namespace iwseg
