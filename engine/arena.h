#pragma once

#include <cstdint>

namespace iwseg {

/// One block of memory that all tensors of a plan lie in, aligned to a page, in huge pages where the system gives them.
class Arena {
  public:
    /// Throws InputError where the system has less, saying how much was asked for and how much is free.
    explicit Arena(std::int64_t bytes);
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    std::int64_t bytes() const { return bytes_; }
    char* data() const { return data_; }

  private:
    std::int64_t bytes_;
    char* data_ = nullptr;
};

/// Bytes the system can still give without swapping.
std::int64_t available_memory();

}  // namespace iwseg
