#include "losses/loss_sum.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "base/nearest_name.h"

namespace iwseg {
namespace {

constexpr float largest_factor = 1e6f;

/// A base term's names, the first of which is written, in the order they are written in.
struct Term {
    std::string_view name, other;
    float LossTerms::*factor;
};
constexpr Term kTerms[] = {{"dice", "dice", &LossTerms::dice},
                           {"iwdice", "iwdice", &LossTerms::iwdice},
                           {"ce", "bce", &LossTerms::ce},
                           {"iwce", "iwbce", &LossTerms::iwce}};

bool is_of_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool begins_number(char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '-';
}

std::string all_terms() {
    std::string all;
    for (const std::string& name : loss_term_names()) all += (all.empty() ? "" : ", ") + name;
    return all;
}

class SumReader {
  public:
    explicit SumReader(const std::string& text) : text_(text), rest_(text_) {}

    LossTerms read() {
        LossTerms terms;
        do {
            const float factor = read_factor();
            add(terms, read_name(), factor);
            skip_spaces();
        } while (take('+'));
        if (!rest_.empty()) fail("'" + std::string(rest_) + "' stands where a + or the end was expected");
        return terms;
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        throw InputError("loss '" + text_ + "': " + what + "; a sum is written as \"dice + 0.5*ce\", of the terms " +
                         all_terms());
    }
    void skip_spaces() { rest_.remove_prefix(std::min(rest_.size(), rest_.find_first_not_of(" \t"))); }
    bool take(char c) {
        skip_spaces();
        if (!rest_.starts_with(c)) return false;
        rest_.remove_prefix(1);
        return true;
    }

    float read_factor() {
        skip_spaces();
        if (rest_.empty() || !begins_number(rest_[0])) return 1.0f;
        float factor = 0;
        const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), factor);
        const auto length = static_cast<std::size_t>(end - rest_.data());
        const std::string written(rest_.substr(0, std::max<std::size_t>(1, length)));
        if (error != std::errc{} || !(factor > 0 && factor <= largest_factor))
            fail("the factor '" + written + "' is not a number above 0, at most 1000000");
        rest_.remove_prefix(length);
        if (!take('*')) fail("a * was expected after the factor '" + written + "'");
        return factor;
    }

    std::string read_name() {
        skip_spaces();
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_of_name);
        const std::string name(rest_.begin(), end);
        if (name.empty())
            fail(rest_.empty() ? "a term is missing at the end"
                               : "a term is missing before '" + std::string(rest_) + "'");
        rest_.remove_prefix(name.size());
        return name;
    }

    void add(LossTerms& terms, const std::string& name, float factor) const {
        for (const auto& [own, other, term] : kTerms) {
            if (name != own && name != other) continue;
            terms.*term += factor;
            if (!(terms.*term <= largest_factor)) fail("the factors of " + name + " add up to more than 1000000");
            return;
        }
        const std::string nearest = nearest_name(name, loss_term_names());
        fail("'" + name + "' is no term" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')"));
    }

    std::string text_;
    std::string_view rest_;
};

}  // namespace

const std::vector<std::string>& loss_term_names() {
    static const std::vector<std::string> names = {"dice", "iwdice", "ce", "iwce", "bce", "iwbce"};
    return names;
}

bool is_loss_sum(const std::string& text) {
    if (!text.empty() && begins_number(text[0])) return true;  // a factor, whatever follows
    if (!std::all_of(text.begin(), text.end(), is_of_name)) return true;
    return std::find(loss_term_names().begin(), loss_term_names().end(), text) != loss_term_names().end();
}

LossTerms read_loss_sum(const std::string& text) {
    return SumReader(text).read();
}

std::string loss_sum_text(const LossTerms& terms) {
    std::string text;
    for (const Term& term : kTerms) {
        const float factor = terms.*term.factor;
        if (factor == 0) continue;
        char digits[32];
        const auto end = std::to_chars(std::begin(digits), std::end(digits), factor).ptr;  // as short as reads the same
        text +=
            (text.empty() ? "" : " + ") + (factor == 1 ? "" : std::string(digits, end) + "*") + std::string(term.name);
    }
    return text;
}

}  // namespace iwseg
