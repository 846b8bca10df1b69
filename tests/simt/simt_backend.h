#pragma once

#include <cstdint>

#include "kernels/device/backend.h"

/// The simt backend as a whole device: the kernels' CUDA source on the executor, and device memory that the host must
/// copy from and to, with sentinels past each buffer.
namespace iwseg::simt {

const Backend& backend();

/// Throws std::logic_error where something wrote past a buffer of device memory; release checks too, and remembers.
void check_sentinels();

/// Matrices that kernels have loaded from shared memory so far, and the cycles that its banks took: one each at best.
struct MatrixLoads {
    std::int64_t count = 0, cycles = 0;
};
MatrixLoads matrix_loads();

/// The executor's schedule: 0 in order, else random by that seed.
void schedule_by(std::uint64_t seed);

/// While it lives, accesses of kernels are not looked at (tests/simt/simt_hooks.h): for tests of what numbers become,
/// whose launches others look at. A step of a network then takes a fifth of the time.
class Unwatched {
  public:
    Unwatched();
    ~Unwatched();
    Unwatched(const Unwatched&) = delete;
    Unwatched& operator=(const Unwatched&) = delete;
};

}  // namespace iwseg::simt
