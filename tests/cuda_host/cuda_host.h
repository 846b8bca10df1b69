#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "kernels/device/backend.h"
#include "tests/cuda_standin/card.h"
#include "tests/cuda_standin/cudnn_engines.h"
#include "tests/cuda_standin/product_algorithms.h"

namespace iwseg {

/// A test of the CUDA backend's host code, on a fresh card that stands in for a real one. Afterwards nothing may be
/// left on the card, and nothing that a right program does not do may have been seen. The user's file of chosen plans
/// is not touched.
class CudaHost : public testing::Test {
  protected:
    CudaHost() {
        ::setenv("XDG_CACHE_HOME", folder_.c_str(), 1);
        standin::insert_card();
        standin::offer_engines(standin::usual_engines());
        standin::offer_algorithms(standin::usual_algorithms());
    }
    ~CudaHost() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    void TearDown() override { expect_clean(); }

    static void expect_clean() {
        EXPECT_EQ(standin::alive().text(), "nothing");
        for (const std::string& problem : standin::take_problems()) ADD_FAILURE() << problem;
    }

    const std::filesystem::path folder_ =
        std::filesystem::path(testing::TempDir()) / ("cuda_host_" + std::to_string(::getpid()));
};

}  // namespace iwseg
