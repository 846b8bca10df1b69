#pragma once

#include <string>
#include <vector>

namespace iwseg {

/// Names that the program or library takes from others, as the dynamic linker sees them, of the one that holds the
/// address. Empty where no loaded object holds it.
std::vector<std::string> imported_symbols(const void* address);

}  // namespace iwseg
