#pragma once

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "apps/config/config.h"

// How the values of a configuration's keys are read from TOML and written to it: one overload a type.
namespace iwseg {

// ---- Reading: each read() returns whether the node is of the type; expected() is that type in words.

inline bool read(const toml::node& node, bool& value) {
    if (!node.is_boolean()) return false;
    value = node.as_boolean()->get();
    return true;
}
inline bool read(const toml::node& node, double& value) {
    if (!node.is_number()) return false;
    value = node.is_integer() ? static_cast<double>(node.as_integer()->get()) : node.as_floating_point()->get();
    return true;
}
template <std::integral Integer>
bool read(const toml::node& node, Integer& value) {
    if (!node.is_integer() || !std::in_range<Integer>(node.as_integer()->get())) return false;
    value = static_cast<Integer>(node.as_integer()->get());
    return true;
}
inline bool read(const toml::node& node, std::string& value) {
    if (!node.is_string()) return false;
    value = node.as_string()->get();
    return true;
}

/// Case and channel names that look like numbers need no quotes.
inline bool read_name(const toml::node& node, std::string& value) {
    if (!node.is_integer()) return read(node, value);
    value = std::to_string(node.as_integer()->get());
    return true;
}

template <class T, std::size_t N>
bool read(const toml::node& node, std::array<T, N>& values) {
    const toml::array* array = node.as_array();
    if (!array || array->size() != N) return false;
    for (std::size_t i = 0; i < N; ++i)
        if (!read((*array)[i], values[i])) return false;
    return true;
}
inline bool read(const toml::node& node, std::array<std::int64_t, 3>& patch) {
    if (std::int64_t side; node.is_integer() && read(node, side)) {
        patch.fill(side);
        return true;
    }
    return read<std::int64_t, 3>(node, patch);
}
inline bool read(const toml::node& node, LearningRateDrop& drop) {
    const toml::array* pair = node.as_array();
    return pair && pair->size() == 2 && read((*pair)[0], drop.epoch) && read((*pair)[1], drop.factor);
}
inline bool read(const toml::node& node, Intensity& intensity) {
    if (const toml::table* table = node.as_table()) {
        intensity.kind = Intensity::Kind::window;
        std::array<double, 2> window;
        if (table->size() != 1 || !table->contains("window") || !read(*table->get("window"), window)) return false;
        intensity.low = window[0];
        intensity.high = window[1];
        return true;
    }
    const std::string word = node.value_or(std::string());
    intensity.kind = word == "none" ? Intensity::Kind::none : Intensity::Kind::zscore;
    return word == "none" || word == "zscore";
}
inline bool read(const toml::node& node, std::optional<double>& value) {
    if (node.value_or(std::string()) == "refuse") {
        value.reset();
        return true;
    }
    value = 0;
    return read(node, *value);
}
template <class T>
bool read(const toml::node& node, std::vector<T>& values) {
    const toml::array* array = node.as_array();
    if (!array) return false;
    values.assign(array->size(), T{});
    for (std::size_t i = 0; i < values.size(); ++i) {
        if constexpr (std::is_same_v<T, std::string>) {
            if (!read_name((*array)[i], values[i])) return false;
        } else if (!read((*array)[i], values[i])) {
            return false;
        }
    }
    return true;
}

inline std::string expected(bool) {
    return "true or false";
}
inline std::string expected(double) {
    return "a number";
}
inline std::string expected(const std::optional<double>&) {
    return "a number or \"refuse\"";
}
inline std::string expected(int) {
    return "a whole number";
}
inline std::string expected(std::int64_t) {
    return "a whole number";
}
inline std::string expected(std::uint64_t) {
    return "a whole number from 0 up";
}
inline std::string expected(const std::string&) {
    return "a string";
}
inline std::string expected(const std::array<std::int64_t, 3>&) {
    return "one or three whole numbers as in [128, 128, 128]";
}
inline std::string expected(const std::array<double, 2>&) {
    return "two numbers as in [1, 2e5]";
}
inline std::string expected(const std::vector<std::string>&) {
    return "a list of names as in [\"a\", \"b\"]";
}
inline std::string expected(const std::vector<int>&) {
    return "a list of whole numbers as in [1, 2]";
}
inline std::string expected(const std::vector<LearningRateDrop>&) {
    return "pairs of epoch and factor as in [[80, 0.1]]";
}
inline std::string expected(const Intensity&) {
    return "\"none\", \"zscore\" or {window = [lo, hi]}";
}

// ---- Writing

inline std::string written(bool value) {
    return value ? "true" : "false";
}
template <std::integral Integer>
std::string written(Integer value) {
    return std::to_string(value);
}
inline std::string written(double value) {
    return fmt::format("{}", value);
}
inline std::string written(const std::string& value) {
    std::ostringstream text;
    text << toml::toml_formatter{toml::value<std::string>(value), toml::format_flags::none};
    return text.str();
}
inline std::string written(const std::optional<double>& value) {
    return value ? written(*value) : "\"refuse\"";
}
inline std::string written(const LearningRateDrop& drop) {
    return fmt::format("[{}, {}]", drop.epoch, drop.factor);
}
template <class List>
requires requires(const List& list) {
    list.begin();
}
std::string written(const List& list) {
    std::string text;
    for (const auto& item : list) text += (text.empty() ? "" : ", ") + written(item);
    return "[" + text + "]";
}
inline std::string written(const Intensity& intensity) {
    switch (intensity.kind) {
        case Intensity::Kind::none:
            return "\"none\"";
        case Intensity::Kind::zscore:
            return "\"zscore\"";
        case Intensity::Kind::window:
            break;
    }
    return fmt::format("{{ window = [{}, {}] }}", intensity.low, intensity.high);
}

inline std::string written(const toml::node& node) {
    std::ostringstream text;
    node.visit([&](const auto& value) { text << toml::toml_formatter{value, toml::format_flags::none}; });
    std::string line = text.str();
    std::replace(line.begin(), line.end(), '\n', ' ');
    return line.size() > 60 ? line.substr(0, 57) + "..." : line;
}

}  // namespace iwseg
