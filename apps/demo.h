#pragma once

#include <string>
#include <vector>

namespace iwseg {

/// The demonstration's training as `key=value` settings over the defaults; configs/demo.toml says the same, less the
/// loss and the split.
std::vector<std::string> demo_settings(const std::string& loss);

}  // namespace iwseg
