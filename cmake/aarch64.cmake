# ARM of 64 bits on a Debian machine of another processor, whose programs run under an emulator (scripts/arm.sh):
#   cmake -B build/arm -G Ninja --toolchain cmake/aarch64.cmake -D IWSEG_ONEDNN=OFF -D IWSEG_CUDA=OFF -D IWSEG_APPS=OFF
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# Debian's libraries for both processors lie side by side; what is found of this one's would not link.
set(CMAKE_IGNORE_PREFIX_PATH /usr/lib/x86_64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
