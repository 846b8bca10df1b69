#pragma once

#include <string>
#include <vector>

namespace iwseg {

/// A term as it is written, before anybody asks what its name means.
struct WrittenTerm {
    float factor = 1;
    std::string name;
    std::vector<float> numbers;      ///< in its brackets
    std::vector<WrittenTerm> inner;  ///< the sum in its brackets; there are numbers or a sum
    float warmup = 0;                ///< epochs
};

constexpr float kLargestFactor = 1e6f;

/// Reads a sum of terms, as text alone:
///     sum = term, { "+", term }
///     term = [ factor, "*" ], name, [ "(", ( number, { ",", number } | sum ), ")" ], [ "@warmup", epochs ]
/// with factors above 0, at most 1e6, and epochs above 0, at most 1e6. Sums in brackets nest kDeepest deep at most.
/// Throws InputError that quotes the text and says where and what was expected; expected: added to its sentence.
std::vector<WrittenTerm> read_loss_syntax(const std::string& text, const std::string& expected);
constexpr int kDeepest = 4;

/// What names are made of, and what numbers begin with.
bool is_of_loss_name(char c);
bool begins_loss_number(char c);

}  // namespace iwseg
