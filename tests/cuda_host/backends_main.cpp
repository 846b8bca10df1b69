// Runs the tests of all backends for CUDA alone, on the card that stands in for a real one: after each of them nothing
// may be left on it, and nothing that a right program does not do may have been seen.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "tests/cuda_standin/card.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

class CleanCard : public testing::EmptyTestEventListener {
    void OnTestEnd(const testing::TestInfo&) override {
        EXPECT_EQ(standin::alive().text(), "nothing");
        for (const std::string& problem : standin::take_problems()) ADD_FAILURE() << problem;
        standin::take_calls();
    }
};

}  // namespace
}  // namespace iwseg

int main(int count, char** arguments) {
    testing::InitGoogleTest(&count, arguments);
    if (GTEST_FLAG_GET(filter) == "*") GTEST_FLAG_SET(filter, "*cuda*");
    testing::UnitTest::GetInstance()->listeners().Append(new iwseg::CleanCard);  // which GoogleTest owns
    const auto cache = std::filesystem::temp_directory_path() / ("iwseg_cuda_backends_" + std::to_string(::getpid()));
    ::setenv("XDG_CACHE_HOME", cache.c_str(), 1);
    iwseg::standin::insert_card({.seed = 1});
    iwseg::cuda_stands_in = true;
    const int result = RUN_ALL_TESTS();
    std::filesystem::remove_all(cache);
    return result;
}
