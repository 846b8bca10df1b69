# ARM of 64 bits on a Debian machine of another processor, whose programs run under an emulator (scripts/arm.sh):
#   cmake -B build/arm -G Ninja --toolchain cmake/aarch64.cmake -D IWSEG_ONEDNN=OFF -D IWSEG_CUDA=OFF -D IWSEG_APPS=OFF
# Headers are this machine's own where they are the same for all processors, as fmt's and JSON's; GoogleTest is compiled from
# the sources that Debian installs. IWSEG_SYSROOT: a folder with the other libraries' packages of arm64 unpacked, for the program.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# What is found of this machine's libraries would not link.
set(CMAKE_IGNORE_PREFIX_PATH /usr/lib/x86_64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${IWSEG_SYSROOT})
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES IWSEG_SYSROOT)
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR}/aarch64)  # Findfmt, FindGTest
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
