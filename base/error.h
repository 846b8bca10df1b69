#pragma once

#include <stdexcept>

namespace iwseg {

/// Something the user gave is unusable: a file, a key, a shape, a device. The message is one sentence that names
/// what is wrong, where, and what was expected. The command ends with exit code 2.
class InputError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace iwseg
