#pragma once

#include <string>

/// What this build computes with, for `iwseg info`.
namespace iwseg::cpu {

/// "2.6.3, up to AVX-512 with BF16": the library's version as it is loaded, and the widest instructions that it uses
/// here.
std::string onednn_version();

}  // namespace iwseg::cpu
