#pragma once

#include <optional>
#include <string>
#include <vector>

#include "losses/loss.h"

namespace iwseg {

/// The term of that name, which may be another than it is written with: ce is bce too. The weighted form of each that
/// has one is called by iw before it. numbers: what its brackets hold; none: the published ones, with which it is
/// written without brackets. Throws std::invalid_argument, saying what the term takes, on others.
/// Those that take terms in brackets are returned without: their name and terms are to be completed.
std::optional<LossTerm> find_loss_term(const std::string& name, const LossOptions& options,
                                       const std::vector<float>& numbers = {});

/// All names that find_loss_term knows. What a term is written with comes in the order that sums are written in.
const std::vector<std::string>& loss_term_names();

}  // namespace iwseg
