#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

// What readers of headers that are text have in common.

namespace iwseg {

inline bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    return text;
}

inline std::vector<std::string_view> words(std::string_view text) {
    std::vector<std::string_view> found;
    for (std::size_t at = 0; at < text.size();) {
        while (at < text.size() && blank(text[at])) ++at;
        const std::size_t begin = at;
        while (at < text.size() && !blank(text[at])) ++at;
        if (at > begin) found.push_back(text.substr(begin, at - begin));
    }
    return found;
}

/// Whether all of the word is one number that Number holds.
template <class Number>
bool to_number(std::string_view word, Number& number) {
    if (word.size() > 1 && word[0] == '+' && word[1] != '-') word.remove_prefix(1);
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    return error == std::errc{} && end == word.data() + word.size();
}

}  // namespace iwseg
