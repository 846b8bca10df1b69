#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/device/backend.h"
#include "tests/simt/simt_backend.h"

// Tests of kernels run on every backend: the CPU's, the CUDA kernels on the executor, and a GPU where there is one;
// where there is none they are skipped, never passed.
namespace iwseg {

enum class TestBackend { cpu, simt, cuda };

inline const char* name_of(TestBackend backend) {
    return backend == TestBackend::cpu ? "cpu" : backend == TestBackend::simt ? "simt" : "cuda";
}

/// Whether CUDA's backend is that of the card that stands in for a real one.
inline bool cuda_stands_in = false;

/// Where kernels are no faster than some thousandth of what they are on a card.
inline bool on_the_executor(TestBackend backend) {
    return backend == TestBackend::simt || (backend == TestBackend::cuda && cuda_stands_in);
}

/// Throws InputError where there is no such device.
inline const Backend& backend_of(TestBackend backend) {
    switch (backend) {
        case TestBackend::cpu:
            return cpu::backend();
        case TestBackend::simt:
            return simt::backend();
        case TestBackend::cuda:
            return cuda::backend();
    }
    throw InputError("unknown backend");
}

/// For a test's body or SetUp: skips where the backend is a GPU's and there is none.
#define IWSEG_SKIP_WITHOUT_DEVICE(backend) \
    if ((backend) == ::iwseg::TestBackend::cuda && !::iwseg::cuda::available()) GTEST_SKIP() << "needs an NVIDIA GPU"

}  // namespace iwseg
