#include "kernels/device/kernel_table.h"

namespace iwseg::cpu {

const Kernels& kernels() {
#define IWSEG_KERNEL_ADDRESS(name) &cpu::name,
    static constexpr Kernels table{"cpu", true, IWSEG_KERNELS(IWSEG_KERNEL_ADDRESS)};
#undef IWSEG_KERNEL_ADDRESS
    return table;
}

}  // namespace iwseg::cpu
