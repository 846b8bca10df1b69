#include "losses/loss_sum.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"
#include "base/number_text.h"
#include "losses/loss_syntax.h"
#include "losses/term_names.h"

namespace iwseg {
namespace {

std::string expected_text() {
    std::string all;
    for (const std::string& name : loss_term_names()) all += (all.empty() ? "" : ", ") + name;
    return "a sum is written as \"dice + 0.5*ce\", of the terms " + all;
}

/// From what is written to what is meant.
class SumReader {
  public:
    SumReader(const std::string& text, const LossOptions& options)
        : text_(text), options_(options), expected_(expected_text()) {}

    std::vector<LossTerm> read() const {
        std::vector<LossTerm> terms;
        for (const WrittenTerm& written : read_loss_syntax(text_, expected_)) terms.push_back(term_of(written));
        terms = ordered_terms(std::move(terms));
        require_factors(terms);
        return terms;
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        throw InputError("loss '" + text_ + "': " + what + "; " + expected_);
    }

    void require_factors(const std::vector<LossTerm>& terms) const {
        for (const LossTerm& term : terms)
            if (!(term.factor <= kLargestFactor)) fail("the factors of " + term.name + " add up to more than 1000000");
    }

    LossTerm term_of(const WrittenTerm& written) const {
        std::optional<LossTerm> term;
        try {
            term = find_loss_term(written.name, options_, written.numbers);
        } catch (const std::invalid_argument& error) {
            fail(error.what());
        }
        if (!term) {
            const std::string nearest = nearest_name(written.name, loss_term_names());
            fail("'" + written.name + "' is no term" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')"));
        }
        take_inner(written, *term);
        term->factor = written.factor;
        term->warmup = written.warmup;
        term->warmup_steps = written.warmup * static_cast<float>(options_.steps_per_epoch);
        return *term;
    }

    /// What stands in a term's brackets, and what may.
    void take_inner(const WrittenTerm& written, LossTerm& term) const {
        const bool takes = term.kind == TermKind::blobs || term.kind == TermKind::regions;
        if (!takes && !written.inner.empty()) fail(term.name + " takes no terms in brackets");
        if (!takes) return;
        if (written.inner.empty()) fail(term.name + " takes terms in brackets, as in " + term.name + "(dice + ce)");
        for (const WrittenTerm& inside : written.inner) {
            const LossTerm& inner = term.inner.emplace_back(term_of(inside));
            const std::string which = "'" + inner.name + "' cannot stand in " + term.name + "'s brackets: ";
            if (inner.kind == TermKind::hardest_voxels) fail(which + "it is of the voxels of a whole batch");
            if (inner.kind != TermKind::voxels) fail(which + "it is of single lesions itself");
            if (inner.weighted) fail(which + "lesions count alike there, without inverse weights");
            if (inner.warmup > 0) fail(which + "a warm-up is that of " + term.name + " as a whole, after its brackets");
        }
        term.inner = ordered_terms(std::move(term.inner));
        require_factors(term.inner);
        term.name += "(" + loss_sum_text(term.inner) + ")";
    }

    const std::string& text_;
    const LossOptions& options_;
    std::string expected_;
};

/// Where a term comes in sums.
std::ptrdiff_t rank(const LossTerm& term) {
    const std::vector<std::string>& names = loss_term_names();
    return std::find(names.begin(), names.end(), term.name.substr(0, term.name.find('('))) - names.begin();
}

bool same_but_for_factor(const LossTerm& a, LossTerm b) {
    b.factor = a.factor;
    return a == b;
}

}  // namespace

bool is_loss_sum(const std::string& text) {
    if (!text.empty() && begins_loss_number(text[0])) return true;  // a factor, whatever follows
    if (!std::all_of(text.begin(), text.end(), is_of_loss_name)) return true;
    return std::find(loss_term_names().begin(), loss_term_names().end(), text) != loss_term_names().end();
}

std::vector<LossTerm> read_loss_sum(const std::string& text, const LossOptions& options) {
    return SumReader(text, options).read();
}

std::string loss_sum_text(const std::vector<LossTerm>& terms) {
    std::string text;
    for (const LossTerm& term : terms)
        text += (text.empty() ? "" : " + ") + (term.factor == 1 ? "" : number_text(term.factor) + "*") + term.name +
                (term.warmup > 0 ? " @warmup " + number_text(term.warmup) : "");
    return text;
}

std::vector<LossTerm> ordered_terms(std::vector<LossTerm> terms) {
    std::stable_sort(terms.begin(), terms.end(), [](const LossTerm& a, const LossTerm& b) {
        const std::ptrdiff_t first = rank(a), second = rank(b);
        return first != second ? first < second : a.name != b.name ? a.name < b.name : a.warmup < b.warmup;
    });
    std::vector<LossTerm> merged;
    for (LossTerm& term : terms) {
        const auto same = std::find_if(merged.begin(), merged.end(),
                                       [&](const LossTerm& other) { return same_but_for_factor(term, other); });
        if (same == merged.end())
            merged.push_back(std::move(term));
        else
            same->factor += term.factor;
    }
    return merged;
}

}  // namespace iwseg
