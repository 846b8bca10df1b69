#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace iwseg {
namespace {

std::string reason() {
    return std::strerror(errno);
}

struct Descriptor {
    explicit Descriptor(int opened) : number(opened) {}
    ~Descriptor() {
        if (number >= 0) ::close(number);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    int number;
};

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path file) : file_(std::move(file)), part_(file_) {
    part_ += ".part";
    while (!open_part()) {
    }
}

/// False where another process has made its part the file meanwhile, or removed it: then there is another to open.
bool AtomicFile::open_part() {
    Descriptor part(::open(part_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (part.number < 0) throw InputError("cannot write " + file_.string() + ": " + reason());
    // A file system that has no locks gives another reason, and the part without one.
    if (::flock(part.number, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        throw InputError("cannot write " + file_.string() + ": another process is writing it");
    struct stat opened {
    }, named{};
    if (::fstat(part.number, &opened) != 0) throw InputError("cannot write " + file_.string() + ": " + reason());
    if (::stat(part_.c_str(), &named) != 0 || opened.st_ino != named.st_ino || opened.st_dev != named.st_dev)
        return false;
    if (::ftruncate(part.number, 0) != 0 && errno != EINVAL)
        throw InputError("cannot write " + file_.string() + ": " + reason());
    descriptor_ = std::exchange(part.number, -1);
    return true;
}

AtomicFile::~AtomicFile() {
    if (descriptor_ < 0) return;
    ::unlink(part_.c_str());
    ::close(descriptor_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            throw InputError("cannot write " + file_.string() + ": " + reason());
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void AtomicFile::write(std::string_view text) {
    write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
    if (::fsync(descriptor_) != 0 && errno != EINVAL)
        throw InputError("cannot write " + file_.string() + ": " + reason());
    // close() reports what a network file system could not store; without it the rename would keep a torn file. The
    // lock lasts until the last of both is closed.
    const Descriptor lock(::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0));
    if (::close(std::exchange(descriptor_, -1)) != 0 || ::rename(part_.c_str(), file_.c_str()) != 0) {
        const std::string why = reason();
        ::unlink(part_.c_str());
        throw InputError("cannot write " + file_.string() + ": " + why);
    }
    sync_folder(file_.has_parent_path() ? file_.parent_path() : ".");
}

void write_text(const std::filesystem::path& file, std::string_view text) {
    AtomicFile out(file);
    out.write(text);
    out.commit();
}

std::string read_text(const std::filesystem::path& file) {
    std::error_code error;
    if (std::filesystem::is_directory(file, error))
        throw InputError("cannot read " + file.string() + ": it is a folder");
    const Descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (in.number < 0) throw InputError("cannot read " + file.string() + ": " + reason());
    struct stat info {};
    const auto size = ::fstat(in.number, &info) == 0 ? static_cast<std::size_t>(info.st_size) : 0;
    constexpr std::size_t more = 1 << 16;  // a pipe has no size, and a file may grow
    std::string text;
    for (std::size_t held = 0;;) {
        if (text.size() == held) text.resize(held < size ? size + 1 : held + std::max(held / 2, more));
        const ssize_t got = ::read(in.number, text.data() + held, text.size() - held);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw InputError("cannot read " + file.string() + ": " + reason());
        held += static_cast<std::size_t>(got);
        if (got > 0) continue;
        text.resize(held);
        return text;
    }
}

void sync_folder(const std::filesystem::path& folder) {
    // Best effort: some file systems refuse to sync a folder, and the rename itself has already succeeded.
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
}

}  // namespace iwseg
