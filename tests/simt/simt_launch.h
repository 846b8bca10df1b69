#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cuda/launch.h"
#include "tests/simt/simt_backend.h"

// What tests of the executor itself share.
namespace iwseg::simt {

/// What a launch throws; empty where it does not.
template <class... P, class... A>
std::string error_of(void (*kernel)(P...), const LaunchShape& shape, const A&... arguments) {
    try {
        launch(kernel, shape, {}, arguments...);
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "";
}

#define EXPECT_SAYS(text, part)                                \
    do {                                                       \
        const std::string said = (text);                       \
        EXPECT_NE(said.find(part), std::string::npos) << said; \
    } while (false)

/// In order and by twenty random schedules.
template <class Body>
void over_schedules(Body&& body) {
    for (std::uint64_t seed = 0; seed <= 20; ++seed) {
        SCOPED_TRACE("schedule " + std::to_string(seed));
        schedule_by(seed);
        body();
    }
    schedule_by(0);
}

}  // namespace iwseg::simt
