#include "kernels/convolution/plan_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

namespace iwseg {
namespace {

std::string default_path() {
    // An empty variable counts as unset, as the XDG specification says.
    const auto folder = [](const char* variable) {
        const char* value = std::getenv(variable);
        return std::string(value ? value : "");
    };
    if (const std::string cache = folder("XDG_CACHE_HOME"); !cache.empty()) return cache + "/iwseg/plans.txt";
    if (const std::string home = folder("HOME"); !home.empty()) return home + "/.cache/iwseg/plans.txt";
    return "";
}

std::map<std::string, std::string> read(const std::string& path) {
    std::map<std::string, std::string> choices;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);)
        if (const std::size_t tab = line.find('\t'); tab != std::string::npos)
            choices[line.substr(0, tab)] = line.substr(tab + 1);
    return choices;
}

/// Holds a folder against other processes and threads that write in it by this class, for the length of a scope.
class LockedFolder {
  public:
    explicit LockedFolder(const std::filesystem::path& folder)
        : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        while (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
        }
    }
    ~LockedFolder() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    LockedFolder(const LockedFolder&) = delete;
    LockedFolder& operator=(const LockedFolder&) = delete;

  private:
    int descriptor_;
};

}  // namespace

PlanFile::PlanFile() : PlanFile(default_path()) {}

std::optional<std::string> PlanFile::find(const std::string& key) const {
    const auto choices = read(path_);
    const auto found = choices.find(key);
    return found == choices.end() ? std::nullopt : std::optional(found->second);
}

bool PlanFile::store(const std::string& key, const std::string& value) const {
    if (path_.empty()) return false;
    std::error_code error;
    const std::filesystem::path folder = std::filesystem::absolute(path_, error).parent_path();
    std::filesystem::create_directories(folder, error);
    const LockedFolder lock(folder);  // from reading to renaming, or one of two processes loses its choice
    auto choices = read(path_);
    choices[key] = value;
    const std::string beside = path_ + "." + std::to_string(::getpid());
    {
        std::ofstream out(beside);
        for (const auto& [k, v] : choices) out << k << '\t' << v << '\n';
        out.flush();
        if (!out) {
            std::filesystem::remove(beside, error);
            return false;
        }
    }
    std::filesystem::rename(beside, path_, error);
    return !error;
}

}  // namespace iwseg
