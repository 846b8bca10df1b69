#pragma once

#include <cstdint>
#include <string>

#include "base/extent.h"

// What every function of the C interface does: it says what went wrong, and lets no exception through.
namespace iwseg::c_api {

/// Keeps what is being thrown as the thread's last error, and returns its iwseg_status. Within a catch block.
int keep_error(const char* function) noexcept;
const char* last_error() noexcept;

/// Throws std::invalid_argument where the pointer is null.
void require(const void* pointer, const char* name);
/// The shape; throws std::invalid_argument on null, sides below 1 and more voxels than there are labels for.
Extent extent_of(const std::int64_t* shape);

/// The work's status. function: for the sentence.
template <class Work>
int guarded(const char* function, Work&& work) noexcept {
    try {
        work();
        return 0;
    } catch (...) {
        return keep_error(function);
    }
}

}  // namespace iwseg::c_api
