#pragma once

#include <string>
#include <vector>

#include "losses/loss.h"

namespace iwseg {

/// Whether a loss is written as a sum, or may be one: not one word that is no term.
bool is_loss_sum(const std::string& text);

/// Reads a sum of terms (losses/loss_syntax.h, losses/term_names.h). A term that comes again is added again; in all, at
/// most 1e6 of each. Throws InputError that quotes the sum and says where and what was expected; an unknown name is
/// answered with the nearest.
std::vector<LossTerm> read_loss_sum(const std::string& text, const LossOptions& options = {});

/// The one way of writing a sum: "dice + 0.5*iwce + 0.1*cat @warmup 50", which reads as the same.
std::string loss_sum_text(const std::vector<LossTerm>& terms);

/// Terms in the order that they are written in, those that are the same but for their factor as one.
std::vector<LossTerm> ordered_terms(std::vector<LossTerm> terms);

}  // namespace iwseg
