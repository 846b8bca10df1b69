#pragma once

#include <string>
#include <vector>

#include "kernels/loss/loss.h"

namespace iwseg {

/// The names of base terms: dice, ce, bce (the same for one output), and each with iw before it.
const std::vector<std::string>& loss_term_names();

/// Whether a loss is written as a sum, or is one base term: not one word of the study's names.
bool is_loss_sum(const std::string& text);

/// Reads a sum of base terms:
///     sum  = term, { "+", term }        term = [ factor, "*" ], name
/// with a factor above 0, 1 where there is none. A name that comes again is added again; in all, at most 1e6 of each.
/// Throws InputError that quotes the sum and says where and what was expected; an unknown name is answered with the
/// nearest.
LossTerms read_loss_sum(const std::string& text);

/// The one way of writing a sum: "dice + 0.5*iwce", terms in the order dice, iwdice, ce, iwce, which reads as the same.
std::string loss_sum_text(const LossTerms& terms);

}  // namespace iwseg
