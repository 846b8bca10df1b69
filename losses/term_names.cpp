#include "losses/term_names.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string_view>
#include <variant>

#include "base/number_text.h"

namespace iwseg {
namespace {

using formulas::Formula;

/// A number in a term's brackets.
struct Argument {
    std::string_view name;
    float published;
    LossOptions::Range range;
};
constexpr LossOptions::Range kErrors{1e-3, 100}, kShares{0, 1};
constexpr Argument kTversky[] = {{"over", 0.3f, kErrors}, {"under", 0.7f, kErrors}};
constexpr Argument kFocalTversky[] = {
    {"over", 0.3f, kErrors}, {"under", 0.7f, kErrors}, {"gamma", 4.0f / 3, {0.1, 10}}};
constexpr Argument kTopK[] = {{"percent", 10, {0.01, 100}}};
constexpr Argument kUnifiedFocal[] = {{"share", 0.5f, kShares}, {"delta", 0.6f, kShares}, {"gamma", 0.5f, {0, 0.99}}};

/// A term's names, the first of which is written.
struct Row {
    std::string_view name, also;
    Formula (*formula)(const LossOptions&, const float* numbers);
    std::span<const Argument> arguments = {};
    TermKind kind = TermKind::voxels;
};

Formula no_formula(const LossOptions&, const float*) {
    return {};
}

/// In the order that sums are written in.
constexpr Row kRows[] = {
    {"dice", "", [](const LossOptions&, const float*) { return Formula(formulas::SoftDice{}); }},
    {"ce", "bce", [](const LossOptions&, const float*) { return Formula(formulas::CrossEntropy{}); }},
    {"wce", "", [](const LossOptions&, const float*) { return Formula(formulas::BalancedCrossEntropy{}); }},
    {"dl", "", [](const LossOptions&, const float*) { return Formula(formulas::Overlap{}); }},
    {"gdl", "", [](const LossOptions&, const float*) { return Formula(formulas::GeneralisedDice{}); }},
    {"asl", "", [](const LossOptions& o, const float*) { return Formula(formulas::Overlap{o.asl_beta * o.asl_beta}); }},
    {"fl", "",
     [](const LossOptions& o, const float*) {
         return o.focal_gamma == 2.0f ? Formula(formulas::Focal<true>{o.focal_alpha})
                                      : Formula(formulas::Focal<false>{o.focal_alpha, o.focal_gamma});
     }},
    {"tversky", "",
     [](const LossOptions&, const float* n) {
         return Formula(formulas::Tversky{n[0], n[1]});
     },
     kTversky},
    {"focal_tversky", "",
     [](const LossOptions&, const float* n) {
         return Formula(formulas::FocalTversky{n[0], n[1], n[2]});
     },
     kFocalTversky},
    {"unified_focal", "",
     [](const LossOptions&, const float* n) {
         return Formula(formulas::UnifiedFocal{n[0], n[1], n[2]});
     },
     kUnifiedFocal},
    {"topk", "", no_formula, kTopK, TermKind::hardest_voxels},
    {"cat",
     "",
     [](const LossOptions&, const float*) { return Formula(formulas::PatchTversky{}); },
     {},
     TermKind::size_weighted},
    {"mil", "", no_formula, {}, TermKind::lesion_maximum},
    {"ici", "", no_formula, {}, TermKind::instances},
    {"blob", "", no_formula, {}, TermKind::blobs},
    {"cc", "", no_formula, {}, TermKind::regions},
};

bool weightable(const Row& row) {
    if (row.kind != TermKind::voxels) return false;
    std::vector<float> published;
    for (const Argument& argument : row.arguments) published.push_back(argument.published);
    return std::visit([](const auto& f) { return f.kWeightable; }, row.formula({}, published.data()));
}

std::vector<std::string> all_names() {
    std::vector<std::string> names, others;
    for (const Row& row : kRows) {
        const bool weighted = weightable(row);
        names.emplace_back(row.name);
        if (weighted) names.push_back("iw" + std::string(row.name));
        if (row.also.empty()) continue;
        others.emplace_back(row.also);
        if (weighted) others.push_back("iw" + std::string(row.also));
    }
    names.insert(names.end(), others.begin(), others.end());
    return names;
}

/// "tversky(0.3, 0.7)"
std::string with_numbers(const std::string& name, std::span<const float> numbers) {
    std::string text;
    for (const float number : numbers) text += (text.empty() ? "" : ", ") + number_text(number);
    return name + "(" + text + ")";
}

/// By the bounds as f32 has them: 0.01 is less than 0.01 in double precision.
bool holds(const LossOptions::Range& range, float number) {
    return number >= static_cast<float>(range.low) && number <= static_cast<float>(range.high);
}

LossTerm make_term(const Row& row, const std::string& name, bool weighted, const LossOptions& options,
                   const std::vector<float>& given) {
    std::vector<float> numbers;
    std::string expected;
    for (const Argument& argument : row.arguments) {
        numbers.push_back(argument.published);
        expected += (expected.empty() ? "" : ", ") + std::string(argument.name);
    }
    if (!given.empty() && row.arguments.empty()) throw std::invalid_argument(name + " takes no numbers");
    if (!given.empty() && given.size() != numbers.size())
        throw std::invalid_argument(name + " takes " + std::to_string(numbers.size()) + " numbers, " + expected +
                                    ", as in " + with_numbers(name, numbers));
    for (std::size_t i = 0; i < given.size(); ++i)
        if (const Argument& a = row.arguments[i]; !holds(a.range, given[i]))
            throw std::invalid_argument(name + "'s " + std::string(a.name) + " is " + number_text(given[i]) +
                                        ", expected a number from " + number_text(a.range.low) + " to " +
                                        number_text(a.range.high));
    const bool published = given.empty() || given == numbers;
    if (!given.empty()) numbers = given;
    LossTerm term{published ? name : with_numbers(name, numbers), row.formula(options, numbers.data()), weighted};
    term.kind = row.kind;
    if (row.kind == TermKind::hardest_voxels) term.percent = numbers.front();
    if (row.kind == TermKind::instances) term.connectivity = options.connectivity;
    return term;
}

}  // namespace

std::optional<LossTerm> find_loss_term(const std::string& name, const LossOptions& options,
                                       const std::vector<float>& numbers) {
    const std::vector<std::string>& known = loss_term_names();
    if (std::find(known.begin(), known.end(), name) == known.end()) return std::nullopt;
    for (const Row& row : kRows)
        for (const std::string prefix : {"", "iw"})
            if (name == prefix + std::string(row.name) || (!row.also.empty() && name == prefix + std::string(row.also)))
                return make_term(row, prefix + std::string(row.name), !prefix.empty(), options, numbers);
    return std::nullopt;
}

const std::vector<std::string>& loss_term_names() {
    static const std::vector<std::string> names = all_names();
    return names;
}

}  // namespace iwseg
