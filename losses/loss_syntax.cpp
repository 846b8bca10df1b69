#include "losses/loss_syntax.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string_view>

#include "base/error.h"

namespace iwseg {
namespace {

constexpr std::string_view kWarmup = "@warmup";

class SyntaxReader {
  public:
    SyntaxReader(const std::string& text, const std::string& expected)
        : text_(text), rest_(text_), expected_(expected) {}

    std::vector<WrittenTerm> read() {
        std::vector<WrittenTerm> terms = read_sum(0);
        if (!rest_.empty()) fail("'" + std::string(rest_) + "' stands where a + or the end was expected");
        return terms;
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        throw InputError("loss '" + text_ + "': " + what + "; " + expected_);
    }
    void skip_spaces() { rest_.remove_prefix(std::min(rest_.size(), rest_.find_first_not_of(" \t"))); }
    bool take(std::string_view what) {
        skip_spaces();
        if (!rest_.starts_with(what)) return false;
        rest_.remove_prefix(what.size());
        return true;
    }

    std::vector<WrittenTerm> read_sum(int deep) {
        std::vector<WrittenTerm> terms;
        do {
            const float factor = read_factor();
            terms.push_back(read_term(deep));
            terms.back().factor = factor;
            if (take(kWarmup)) terms.back().warmup = read_epochs();
            skip_spaces();
        } while (take("+"));
        return terms;
    }

    /// A number, or nothing. What was read is `written`.
    bool read_number(float& number, std::string& written) {
        skip_spaces();
        if (rest_.empty() || !begins_loss_number(rest_[0])) return false;
        const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
        const auto length = static_cast<std::size_t>(end - rest_.data());
        written = rest_.substr(0, std::max<std::size_t>(1, length));
        if (error != std::errc{}) fail("'" + written + "' is not a number that can be used");
        rest_.remove_prefix(length);
        return true;
    }

    float read_factor() {
        float factor = 1;
        std::string written;
        if (!read_number(factor, written)) return 1.0f;
        if (!(factor > 0 && factor <= kLargestFactor))
            fail("the factor '" + written + "' is not a number above 0, at most 1000000");
        if (!take("*")) fail("a * was expected after the factor '" + written + "'");
        return factor;
    }

    float read_epochs() {
        float epochs = 0;
        std::string written;
        if (!read_number(epochs, written) || !(epochs > 0 && epochs <= kLargestFactor))
            fail("after @warmup a number of epochs was expected, above 0, at most 1000000");
        return epochs;
    }

    WrittenTerm read_term(int deep) {
        skip_spaces();
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_of_loss_name);
        WrittenTerm term;
        term.name.assign(rest_.begin(), end);
        if (term.name.empty())
            fail(rest_.empty() ? "a term is missing at the end"
                               : "a term is missing before '" + std::string(rest_) + "'");
        rest_.remove_prefix(term.name.size());
        if (take("(")) read_brackets(deep, term);
        return term;
    }

    void read_brackets(int deep, WrittenTerm& term) {
        if (deep == kDeepest) fail("brackets within brackets go too deep at '" + term.name + "('");
        const std::string_view begin = rest_;
        float number = 0;
        std::string written;
        if (read_number(number, written) && !take("*")) {
            term.numbers.push_back(number);
            while (take(",")) {
                if (!read_number(number, written))
                    fail("a number was expected after the comma in " + term.name + "'s bracket");
                term.numbers.push_back(number);
            }
        } else {
            rest_ = begin;  // a factor, if it was a number
            term.inner = read_sum(deep + 1);
        }
        if (!take(")"))
            fail(rest_.empty()
                     ? "the bracket of " + term.name + " is not closed"
                     : "'" + std::string(rest_) + "' stands where the end of " + term.name + "'s bracket was expected");
    }

    std::string text_;
    std::string_view rest_;
    const std::string& expected_;
};

}  // namespace

bool is_of_loss_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool begins_loss_number(char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '-';
}

std::vector<WrittenTerm> read_loss_syntax(const std::string& text, const std::string& expected) {
    return SyntaxReader(text, expected).read();
}

}  // namespace iwseg
