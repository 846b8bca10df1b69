#pragma once

#include <string>

#include "engine/lowering.h"

namespace iwseg {

/// Adds a call that makes an input's gradient of an output's, whose elements it holds as they are. No work where nobody
/// reads that one afterwards and nobody has written to the other. pass: of the call's name, as in "NAME summand
/// gradient".
void pass_gradient(const Lowering& lowering, const std::string& pass, Buffer diff_output,
                   const GradientDestination& to);

/// Adds the call to = from, between forms.
void convert(const Lowering& lowering, const std::string& name, Buffer from, Buffer to);

}  // namespace iwseg
