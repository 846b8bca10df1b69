#include "engine/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "kernels/error.h"

namespace iwseg {
namespace {

std::string reason() { return std::strerror(errno); }

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path file) : file_(std::move(file)), part_(file_) {
    part_ += ".part";
    descriptor_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw InputError("cannot write " + file_.string() + ": " + reason());
}

AtomicFile::~AtomicFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(part_.c_str());
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

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void AtomicFile::commit() {
    if (::fsync(descriptor_) != 0 && errno != EINVAL)
        throw InputError("cannot write " + file_.string() + ": " + reason());
    // close() reports what a network file system could not store; without it the rename would keep a torn file.
    if (::close(std::exchange(descriptor_, -1)) != 0) {
        const std::string why = reason();
        ::unlink(part_.c_str());
        throw InputError("cannot write " + file_.string() + ": " + why);
    }
    if (::rename(part_.c_str(), file_.c_str()) != 0) {
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
    if (std::filesystem::is_directory(file, error)) throw InputError("cannot read " + file.string() + ": it is a folder");
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in) throw InputError("cannot read " + file.string() + ": " + (errno ? reason() : "it cannot be opened"));
    std::ostringstream text;
    text << in.rdbuf();
    if (in.bad()) throw InputError("cannot read " + file.string() + ": " + reason());
    return std::move(text).str();
}

void sync_folder(const std::filesystem::path& folder) {
    // Best effort: some file systems refuse to sync a folder, and the rename itself has already succeeded.
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
}

}  // namespace iwseg
