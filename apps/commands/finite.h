#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <string>

namespace iwseg {

/// Refuses NaN and infinity, which CLI11's own checks of numbers let through.
inline CLI::Validator finite() {
    return {[](std::string& text) {
                double value = 0;
                const bool reads = CLI::detail::lexical_cast(text, value);
                return !reads || std::isfinite(value) ? std::string() : text + " is not a finite number";
            },
            std::string()};
}

}  // namespace iwseg
