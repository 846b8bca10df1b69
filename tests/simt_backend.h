#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

/// The simt backend as a whole device: the kernels' CUDA source on the executor, and device memory that the host must
/// copy from and to, with sentinels behind each buffer.
namespace iwseg::simt {

const Kernels& kernels();

/// Throws std::logic_error where something wrote behind a buffer of device memory; release checks too, and remembers.
void check_sentinels();

/// The executor's schedule: 0 in order, else random by that seed.
void schedule_by(std::uint64_t seed);

}  // namespace iwseg::simt
