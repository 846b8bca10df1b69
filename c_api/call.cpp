#include "c_api/call.h"

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "include/iwseg/c_api.h"
#include "kernels/components/components.h"

namespace iwseg::c_api {
namespace {

// Plain memory: it needs no destructor, which would keep an unloaded library's thread from ending.
thread_local char kept[2048] = "";

int keep(const char* function, const char* what, iwseg_status status) noexcept {
    const int length = std::snprintf(kept, sizeof kept, "%s%s%s", function, *function ? ": " : "", what);
    if (length >= static_cast<int>(sizeof kept)) {  // not in the middle of a character
        std::size_t end = sizeof kept - 1;
        while (end > 0 && (static_cast<unsigned char>(kept[end - 1]) & 0xC0) == 0x80) --end;
        if (end > 0 && (static_cast<unsigned char>(kept[end - 1]) & 0x80)) --end;
        kept[end] = 0;
    }
    return status;
}

}  // namespace

int keep_error(const char* function) noexcept {
    try {
        throw;
    } catch (const InputError& error) {
        return keep("", error.what(), IWSEG_UNUSABLE);  // it names the file or value
    } catch (const std::invalid_argument& error) {
        return keep(function, error.what(), IWSEG_BAD_ARGUMENT);
    } catch (const std::bad_alloc&) {
        return keep(function, "not enough memory", IWSEG_NO_MEMORY);
    } catch (const std::exception& error) {
        return keep(function, error.what(), IWSEG_FAILED);
    } catch (...) {
        return keep(function, "failed without saying why", IWSEG_FAILED);
    }
}

const char* last_error() noexcept {
    return kept;
}

void require(const void* pointer, const char* name) {
    if (!pointer) throw std::invalid_argument(std::string(name) + " is NULL");
}

Extent extent_of(const std::int64_t* shape) {
    require(shape, "shape");
    std::int64_t voxels = 1;
    for (int axis = 0; axis < 3; ++axis) {
        if (shape[axis] < 1 || shape[axis] > kMostVoxels / voxels)
            throw std::invalid_argument("a shape of " + std::to_string(shape[0]) + " x " + std::to_string(shape[1]) +
                                        " x " + std::to_string(shape[2]) +
                                        " voxels: expected sides of at least 1, and at most " +
                                        std::to_string(kMostVoxels) + " voxels in all");
        voxels *= shape[axis];
    }
    return {shape[0], shape[1], shape[2]};
}

}  // namespace iwseg::c_api
