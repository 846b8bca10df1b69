#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "base/error.h"

namespace iwseg {

/// The bytes of one trial as a file: readers take files. In memory where the system has /dev/shm.
class FuzzFile {
  public:
    explicit FuzzFile(const std::string& ending)
        : file_((std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path()) /
                ("iwseg_fuzz_" + std::to_string(::getpid()) + ending)) {
        descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (descriptor_ < 0) std::abort();
    }
    ~FuzzFile() {
        ::close(descriptor_);
        ::unlink(file_.c_str());
    }
    FuzzFile(const FuzzFile&) = delete;
    FuzzFile& operator=(const FuzzFile&) = delete;

    const std::filesystem::path& with(const std::uint8_t* data, std::size_t size) {
        if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, data, size, 0) != static_cast<ssize_t>(size))
            std::abort();
        return file_;
    }

  private:
    std::filesystem::path file_;
    int descriptor_ = -1;
};

/// Whatever the bytes are: they are read, or refused in one sentence. Any other exception ends the fuzzer.
inline void read_or_refuse(const std::function<void()>& read) {
    try {
        read();
    } catch (const InputError& error) {
        if (std::strchr(error.what(), '\n') || std::strlen(error.what()) > 1000) std::abort();
    }
}

}  // namespace iwseg
