#pragma once

#include <string>

namespace iwseg {

/// The shortest text that reads back as this value: "0.5", "1e-05", "inf".
std::string number_text(float value);
std::string number_text(double value);

}  // namespace iwseg
