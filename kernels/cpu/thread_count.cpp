#include "kernels/cpu/thread_count.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// A list "a,b,c", as /proc writes it.
bool list_holds(const std::string& list, const std::string& wanted) {
    std::istringstream in(list);
    for (std::string item; std::getline(in, item, ',');)
        if (item == wanted) return true;
    return false;
}

/// A hierarchy of control groups as it is mounted.
struct Mount {
    std::string root;  ///< the group that is seen at `point`
    std::string point;
    bool unified;  ///< version 2
};

/// One line: id parent device root point options [more]… - type source super-options.
std::optional<Mount> mount_of(const std::string& line) {
    std::istringstream in(line);
    std::string id, parent, device, root, point, field, type, source, options;
    in >> id >> parent >> device >> root >> point;
    while (in >> field && field != "-") {
    }
    if (!(in >> type >> source >> options)) return {};
    if (type == "cgroup2") return Mount{root, point, true};
    if (type == "cgroup" && list_holds(options, "cpu")) return Mount{root, point, false};
    return {};
}

std::vector<Mount> mounts_in(const fs::path& file) {
    std::vector<Mount> mounts;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);)
        if (const auto mount = mount_of(line)) mounts.push_back(*mount);
    return mounts;
}

/// What one group grants.
std::optional<double> quota_of(const fs::path& group, bool unified) {
    std::string quota;
    double period = 0;
    if (unified) {
        if (!(std::ifstream(group / "cpu.max") >> quota >> period)) return {};
    } else if (!(std::ifstream(group / "cpu.cfs_quota_us") >> quota) ||
               !(std::ifstream(group / "cpu.cfs_period_us") >> period)) {
        return {};
    }
    double time = 0;
    const auto read = std::from_chars(quota.data(), quota.data() + quota.size(), time);
    if (read.ec != std::errc() || time <= 0 || period <= 0) return {};  // "max", -1: no limit
    return time / period;
}

/// The group's path below the mount: a container may see its own group, /docker/ID, as the mount's root.
fs::path below_mount(const std::string& group, const Mount& mount) {
    std::string path = group;
    if (mount.root != "/" && (path == mount.root || path.starts_with(mount.root + "/")))
        path.erase(0, mount.root.size());
    while (path.starts_with("/")) path.erase(0, 1);
    if (path.starts_with("..")) path.clear();  // beyond the namespace's root: all that is seen is the root
    return path;
}

/// OMP_NUM_THREADS: "4", or of nested regions "4,2".
std::optional<int> first_count(const std::string& text) {
    const auto begin = std::find_if(text.begin(), text.end(), [](char c) { return c != ' '; });
    int count = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + (begin - text.begin()), end, count);
    const bool whole = read.ptr == end || *read.ptr == ',' || *read.ptr == ' ';
    if (read.ec != std::errc() || !whole || count < 1 || count > kMostThreads) return {};
    return count;
}

std::string rounded(double quota) {
    std::ostringstream out;
    out.precision(3);
    out << quota;
    return out.str();
}

std::string cores_text(int cores) {
    return std::to_string(cores) + (cores == 1 ? " core" : " cores");
}

}  // namespace

std::string ThreadCount::text() const {
    return std::to_string(threads) + (threads == 1 ? " thread (" : " threads (") + reason + ")";
}

std::optional<double> cgroup_quota(const fs::path& cgroups, const fs::path& mounts, const fs::path& root) {
    const std::vector<Mount> mounted = mounts_in(mounts);
    std::optional<double> smallest;
    std::ifstream in(cgroups);
    for (std::string line; std::getline(in, line);) {  // hierarchy:controllers:group; version 2 names no controllers
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const bool unified = controllers.empty();
        if (!unified && !list_holds(controllers, "cpu")) continue;
        for (const Mount& mount : mounted) {
            if (mount.unified != unified) continue;
            const fs::path top = root / fs::path(mount.point).relative_path();
            fs::path group = below_mount(line.substr(second + 1), mount);
            for (;; group = group.parent_path()) {
                if (const auto quota = quota_of(group.empty() ? top : top / group, unified))
                    smallest = std::min(smallest.value_or(*quota), *quota);
                if (group.empty()) break;
            }
        }
    }
    return smallest;
}

ProcessorShare processor_share() {
    ProcessorShare share;
    share.cores = std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
    share.allowed = share.cores;
    std::vector<cpu_set_t> set(16);  // 16,384 processors
    if (::sched_getaffinity(0, set.size() * sizeof(cpu_set_t), set.data()) == 0)
        share.allowed = std::max(1, CPU_COUNT_S(set.size() * sizeof(cpu_set_t), set.data()));
    share.cores = std::max(share.cores, share.allowed);
    share.quota = cgroup_quota("/proc/self/cgroup", "/proc/self/mountinfo");
    if (const char* wanted = std::getenv("OMP_NUM_THREADS")) share.wanted = wanted;
    return share;
}

ThreadCount count_threads(const ProcessorShare& share) {
    if (const auto wanted = first_count(share.wanted)) return {*wanted, "OMP_NUM_THREADS"};
    const int allowed = std::max(1, share.allowed);
    if (share.quota && std::ceil(*share.quota) < allowed)
        return {std::max(1, static_cast<int>(std::ceil(*share.quota))),
                "a CPU quota of " + rounded(*share.quota) + " on " + cores_text(allowed)};
    if (allowed < share.cores)
        return {allowed, cores_text(share.cores) + ", of which this process may run on " + std::to_string(allowed)};
    return {allowed, allowed == 1 ? "one core" : "all " + cores_text(allowed)};
}

ThreadCount count_threads(int wanted) {
    if (wanted > kMostThreads)
        throw InputError(std::to_string(wanted) + " threads were asked for; at most " + std::to_string(kMostThreads) +
                         " can be had");
    return wanted > 0 ? ThreadCount{wanted, "as asked for"} : count_threads(processor_share());
}

}  // namespace iwseg
