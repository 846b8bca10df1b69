#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace iwseg {

/// The fastest of `count` candidates that computes what it should: seconds(i) is its time, or nothing where it does not
/// run; wrong(i), asked in the order of speed and only until one is right, is empty or says what is wrong, which then
/// goes to complain(i, what).
template <class Seconds, class Wrong, class Complain>
std::optional<std::size_t> fastest_right(std::size_t count, Seconds&& seconds, Wrong&& wrong, Complain&& complain) {
    std::vector<std::pair<double, std::size_t>> timed;
    for (std::size_t i = 0; i < count; ++i)
        if (const std::optional<double> time = seconds(i)) timed.emplace_back(*time, i);
    std::sort(timed.begin(), timed.end());
    for (const auto& [time, i] : timed) {
        const std::string what = wrong(i);
        if (what.empty()) return i;
        complain(i, what);
    }
    return std::nullopt;
}

}  // namespace iwseg
