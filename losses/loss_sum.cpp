#include "losses/loss_sum.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"
#include "losses/term_names.h"

namespace iwseg {
namespace {

constexpr float largest_factor = 1e6f;

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
    SumReader(const std::string& text, const LossOptions& options) : text_(text), rest_(text_), options_(options) {}

    std::vector<LossTerm> read() {
        std::vector<LossTerm> terms;
        do {
            const float factor = read_factor();
            terms.push_back(read_term());
            terms.back().factor = factor;
            skip_spaces();
        } while (take('+'));
        terms = ordered_terms(std::move(terms));
        for (const LossTerm& term : terms)
            if (!(term.factor <= largest_factor)) fail("the factors of " + term.name + " add up to more than 1000000");
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

    LossTerm read_term() {
        skip_spaces();
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_of_name);
        const std::string name(rest_.begin(), end);
        if (name.empty())
            fail(rest_.empty() ? "a term is missing at the end"
                               : "a term is missing before '" + std::string(rest_) + "'");
        rest_.remove_prefix(name.size());
        if (const std::optional<LossTerm> term = find_loss_term(name, options_)) return *term;
        const std::string nearest = nearest_name(name, loss_term_names());
        fail("'" + name + "' is no term" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')"));
    }

    std::string text_;
    std::string_view rest_;
    const LossOptions& options_;
};

/// Where a term comes in sums.
std::ptrdiff_t rank(const LossTerm& term) {
    const std::vector<std::string>& names = loss_term_names();
    return std::find(names.begin(), names.end(), term.name) - names.begin();
}

}  // namespace

bool is_loss_sum(const std::string& text) {
    if (!text.empty() && begins_number(text[0])) return true;  // a factor, whatever follows
    if (!std::all_of(text.begin(), text.end(), is_of_name)) return true;
    return std::find(loss_term_names().begin(), loss_term_names().end(), text) != loss_term_names().end();
}

std::vector<LossTerm> read_loss_sum(const std::string& text, const LossOptions& options) {
    return SumReader(text, options).read();
}

std::string loss_sum_text(const std::vector<LossTerm>& terms) {
    std::string text;
    for (const LossTerm& term : terms) {
        char digits[32];
        const auto end =
            std::to_chars(std::begin(digits), std::end(digits), term.factor).ptr;  // as short as reads the same
        text += (text.empty() ? "" : " + ") + (term.factor == 1 ? "" : std::string(digits, end) + "*") + term.name;
    }
    return text;
}

std::vector<LossTerm> ordered_terms(std::vector<LossTerm> terms) {
    std::stable_sort(terms.begin(), terms.end(),
                     [](const LossTerm& a, const LossTerm& b) { return rank(a) < rank(b); });
    std::vector<LossTerm> merged;
    for (LossTerm& term : terms) {
        const auto same = std::find_if(merged.begin(), merged.end(), [&](const LossTerm& other) {
            return other.name == term.name && other.formula == term.formula;
        });
        if (same == merged.end())
            merged.push_back(std::move(term));
        else
            same->factor += term.factor;
    }
    return merged;
}

}  // namespace iwseg
