#include "apps/run_folder/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// Whether the descriptor is still the file of that name, not one that its last owner removed.
bool still_there(int descriptor, const fs::path& file) {
    struct stat opened = {}, named = {};
    return ::fstat(descriptor, &opened) == 0 && ::stat(file.c_str(), &named) == 0 && opened.st_ino == named.st_ino;
}

/// Bytes of the leading whole lines whose step is at most last_step.
std::size_t kept_bytes(const std::string& text, std::int64_t last_step) {
    std::size_t kept = 0;
    for (std::size_t end; (end = text.find('\n', kept)) != std::string::npos; kept = end + 1) {
        const auto line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(kept),
                                                text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
        if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer() ||
            line["step"].get<std::int64_t>() > last_step)
            break;
    }
    return kept;
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder) {
    const fs::path file = folder / ".lock";
    descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw InputError("cannot write " + file.string() + ": " + std::strerror(errno));
    int result = 0;
    while ((result = ::flock(descriptor_, LOCK_EX)) != 0 && errno == EINTR) {
    }
    if (result == 0) return;
    const std::string why = std::strerror(errno);
    ::close(descriptor_);
    throw InputError("cannot lock " + file.string() + ": " + why);
}

FolderLock::~FolderLock() {
    ::close(descriptor_);
}

RunFolder::RunFolder(fs::path folder) : RunFiles(std::move(folder)) {
    std::error_code error;
    created_ = fs::create_directories(root(), error);
    if (error || !fs::is_directory(root(), error))
        throw InputError("cannot create the folder " + root().string() + ": " +
                         (error ? error.message() : "a file has that name"));
    do {
        if (descriptor_ >= 0) ::close(descriptor_);
        descriptor_ = ::open(lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (descriptor_ < 0)
            throw InputError("cannot write in the folder " + root().string() + ": " + std::strerror(errno));
        if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
            const bool in_use = errno == EWOULDBLOCK;
            const std::string why = std::strerror(errno);
            ::close(descriptor_);
            if (in_use)
                throw RunFolderInUse("the run folder " + root().string() + " is in use by another iwseg process");
            throw InputError("cannot lock the run folder " + root().string() + ": " + why);
        }
    } while (!still_there(descriptor_, lock()));
}

RunFolder::~RunFolder() {
    std::error_code error;
    if (created_) {
        // What the scans were and the plans chosen, of a training that did not begin.
        if (!fs::exists(config(), error))
            for (const fs::path& file : {inputs(), plans()}) fs::remove(file, error);
        const auto files = std::distance(fs::directory_iterator(root(), error), fs::directory_iterator());
        if (!error && files == 1) {
            fs::remove(lock(), error);
            fs::remove(root(), error);
        }
    }
    ::close(descriptor_);
}

StepLog::StepLog(fs::path file, std::int64_t last_step) : file_(std::move(file)) {
    std::error_code error;
    if (fs::exists(file_, error)) bytes_ = static_cast<std::int64_t>(kept_bytes(read_text(file_), last_step));
    descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor_ < 0 || ::ftruncate(descriptor_, bytes_) != 0)
        throw InputError("cannot write " + file_.string() + ": " + std::strerror(errno));
}

StepLog::~StepLog() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

void StepLog::append(const std::string& line) {
    const std::string whole = line + "\n";
    const ssize_t written = ::write(descriptor_, whole.data(), whole.size());
    if (written == static_cast<ssize_t>(whole.size())) {
        bytes_ += written;
        return;
    }
    const std::string why = written < 0 ? std::strerror(errno) : "no space left";
    // A torn line is taken back; should that fail too, the next resume drops it.
    if (::ftruncate(descriptor_, bytes_) != 0)
        throw InputError("cannot write or repair " + file_.string() + ": " + why);
    throw InputError("cannot write " + file_.string() + ": " + why);
}

void StepLog::sync() {
    if (::fsync(descriptor_) != 0) throw InputError("cannot write " + file_.string() + ": " + std::strerror(errno));
}

}  // namespace iwseg
