#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace iwseg {

/// What a parameter's values are before training, declared where the parameter is.
struct Initial {
    /// constant: number; uniform: in [-number, number)
    enum class Rule : std::uint8_t { constant, uniform } rule = Rule::constant;
    double number = 0;

    static constexpr Initial constant(double number) { return {Rule::constant, number}; }
    static constexpr Initial zeros() { return constant(0); }
    static constexpr Initial ones() { return constant(1); }
    /// Kaiming uniform with a = sqrt 5, PyTorch's for convolutions and their biases: the bound is 1 / sqrt(fan in).
    static Initial kaiming_uniform(std::int64_t fan_in);
};

/// A parameter that an operation reads, as it is declared.
struct ParameterSpec {
    std::string name;  ///< as in a weights file
    std::vector<std::int64_t> shape;
    Initial initial = {};
    bool learned = true;  ///< else a running statistic
};

}  // namespace iwseg
