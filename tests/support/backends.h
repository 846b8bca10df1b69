#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/device/kernel_table.h"
#include "tests/simt/simt_backend.h"

// Tests of kernels run on every backend: the CPU's, the CUDA kernels on the executor, and a GPU where there is one;
// where there is none they are skipped, never passed.
namespace iwseg {

enum class Backend { cpu, simt, cuda };

inline const char* name_of(Backend backend) {
    return backend == Backend::cpu ? "cpu" : backend == Backend::simt ? "simt" : "cuda";
}

/// Throws InputError where there is no such device.
inline const Kernels& kernels_of(Backend backend) {
    switch (backend) {
        case Backend::cpu:
            return cpu::kernels();
        case Backend::simt:
            return simt::kernels();
        case Backend::cuda:
            return cuda::kernels();
    }
    throw InputError("unknown backend");
}

/// For a test's body or SetUp: skips where the backend is a GPU's and there is none.
#define IWSEG_SKIP_WITHOUT_DEVICE(backend) \
    if ((backend) == ::iwseg::Backend::cuda && !::iwseg::cuda::available()) GTEST_SKIP() << "needs an NVIDIA GPU"

}  // namespace iwseg
