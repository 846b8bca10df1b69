#pragma once

#include <string>
#include <vector>

#include "losses/loss.h"

namespace iwseg {

/// Whether a loss is written as a sum, or may be one: not one word that is no term.
bool is_loss_sum(const std::string& text);

/// Reads a sum of terms:
///     sum  = term, { "+", term }        term = [ factor, "*" ], name
/// with a factor above 0, 1 where there is none. A name that comes again is added again; in all, at most 1e6 of each.
/// Throws InputError that quotes the sum and says where and what was expected; an unknown name is answered with the
/// nearest.
std::vector<LossTerm> read_loss_sum(const std::string& text, const LossOptions& options = {});

/// The one way of writing a sum: "dice + 0.5*iwce", which reads as the same.
std::string loss_sum_text(const std::vector<LossTerm>& terms);

/// Terms in the order that they are written in, those of one name and formula as one.
std::vector<LossTerm> ordered_terms(std::vector<LossTerm> terms);

}  // namespace iwseg
