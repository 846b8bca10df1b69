#include "kernels/device/backend.h"

namespace iwseg::cpu {

const Backend& backend() {
#define IWSEG_KERNEL_ADDRESS(name) &cpu::name,
    static constexpr Backend table{"cpu", true, IWSEG_KERNELS(IWSEG_KERNEL_ADDRESS)};
#undef IWSEG_KERNEL_ADDRESS
    return table;
}

}  // namespace iwseg::cpu
