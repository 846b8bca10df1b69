#pragma once

namespace iwseg {

/// The project's version; CMakeLists.txt names the same.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace iwseg
