#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "losses/loss.h"

// A loss as a configuration names it is read or refused, and what is read is read again from its one spelling.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string once;
    try {
        once = iwseg::loss_from_name({reinterpret_cast<const char*>(data), size}).name;
    } catch (const iwseg::InputError&) {
        return 0;
    }
    if (iwseg::loss_from_name(once).name != once) std::abort();
    return 0;
}
