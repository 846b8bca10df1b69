# One target a folder, linked only against the folders it may include from: a wrong include does not link.

# Flags every target of ours is compiled with.
add_library(iwseg_flags INTERFACE)
set(iwseg_cxx_flags -Wall -Wextra -Wpedantic -Wshadow -Wno-psabi -fno-math-errno -fno-trapping-math)
# g++ 12's -Wrestrict warns of std::string itself; clang does not know the flag.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND iwseg_cxx_flags -Wno-restrict)
endif()
# Whole registers of AVX-512 where a function is compiled for it; g++ by itself takes halves of them.
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-mprefer-vector-width=512 IWSEG_HAS_WHOLE_VECTORS)
if(IWSEG_HAS_WHOLE_VECTORS)
    list(APPEND iwseg_cxx_flags -mprefer-vector-width=512)
endif()
# A program holds only those functions that something calls.
target_link_options(iwseg_flags INTERFACE LINKER:--gc-sections)
if(IWSEG_WERROR)
    list(APPEND iwseg_cxx_flags -Werror)
endif()
if(IWSEG_SANITIZE)
    # g++ 12 takes instrumented code of the standard library's own for uninitialised reads.
    list(APPEND iwseg_cxx_flags -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
         -Wno-maybe-uninitialized)
    target_link_options(iwseg_flags INTERFACE -fsanitize=address,undefined)
    target_compile_definitions(iwseg_flags INTERFACE IWSEG_SANITIZED=1)
endif()
target_compile_options(iwseg_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${iwseg_cxx_flags}>")

# The C library stays the system's. Debian has no static library of fmt, but all of it in headers.
set(iwseg_fmt fmt::fmt)
set(iwseg_pugixml pugixml::pugixml)
if(IWSEG_STATIC)
    if(IWSEG_ONEDNN OR IWSEG_HAS_CUDA)
        message(FATAL_ERROR "IWSEG_STATIC=ON needs IWSEG_ONEDNN=OFF and IWSEG_CUDA=OFF: those libraries come as shared ones")
    endif()
    set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
    target_link_options(iwseg_flags INTERFACE -static-libstdc++ -static-libgcc)
    # Addresses that the loader fills in take a few bits each in place of 24 bytes: with glibc 2.36 and newer. A linker that
    # cannot do so for this processor only warns.
    include(CheckLinkerFlag)
    check_linker_flag(CXX LINKER:--fatal-warnings,-z,pack-relative-relocs IWSEG_HAS_RELR)
    if(IWSEG_HAS_RELR)
        target_link_options(iwseg_flags INTERFACE LINKER:-z,pack-relative-relocs)
    endif()
    set(iwseg_fmt fmt::fmt-header-only)
    set(iwseg_pugixml pugixml::static)
endif()

# Files that a folder's target does not have: one of those that stand for each other, with oneDNN and without.
set(iwseg_left_out "(apps/main|kernels/device/no_cuda|kernels/convolution/no_onednn)\\.cpp$")
set(iwseg_onednn "")
if(IWSEG_ONEDNN)
    # The CMake package file of Debian's oneDNN asks for OpenCL, which the CPU library does not need.
    find_path(ONEDNN_INCLUDE dnnl.hpp REQUIRED)
    find_library(ONEDNN_LIBRARY dnnl REQUIRED)
    set(iwseg_onednn iwseg_onednn)
    add_library(iwseg_onednn INTERFACE)
    target_link_libraries(iwseg_onednn INTERFACE $<BUILD_INTERFACE:${ONEDNN_LIBRARY}> $<INSTALL_INTERFACE:dnnl>)
else()
    set(iwseg_left_out "(apps/main|kernels/device/no_cuda|kernels/convolution/onednn/[a-z_]*)\\.cpp$")
endif()

# The NIfTI C library that understands NIfTI-1 and NIfTI-2 alike, zlib to read .nii.gz and libdeflate to write it.
if(IWSEG_APPS)
    find_package(ZLIB REQUIRED)
    find_library(DEFLATE_LIBRARY deflate REQUIRED)
    find_path(NIFTI2_INCLUDE nifti2_io.h PATH_SUFFIXES nifti REQUIRED)
    find_library(NIFTI2_LIBRARY nifti2 REQUIRED)
    find_library(ZNZ_LIBRARY znz REQUIRED)
    add_library(iwseg_nifti INTERFACE)
    target_include_directories(iwseg_nifti SYSTEM INTERFACE ${NIFTI2_INCLUDE})
    target_link_libraries(iwseg_nifti INTERFACE ${NIFTI2_LIBRARY} ${ZNZ_LIBRARY} ZLIB::ZLIB ${DEFLATE_LIBRARY})
endif()

# iwseg_folder(NAME [FILES pattern...] [EXCEPT folder] [USES folder...] [LINK library...] [RELEASE flag]): the static library
# iwseg_NAME (iwseg::NAME) from NAME/*.cpp, or from the files given, without those that another library has already. RELEASE:
# what a release build optimises by; -Os where no loop over voxels is, as it takes half the bytes.
function(iwseg_folder name)
    cmake_parse_arguments(ARG "" "RELEASE" "FILES;EXCEPT;USES;LINK" ${ARGN})
    if(ARG_FILES)
        list(TRANSFORM ARG_FILES PREPEND ${PROJECT_SOURCE_DIR}/)
        file(GLOB sources CONFIGURE_DEPENDS ${ARG_FILES})
    else()
        file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cpp)
    endif()
    foreach(other ${ARG_EXCEPT})
        get_target_property(taken iwseg_${other} SOURCES)
        list(REMOVE_ITEM sources ${taken})
    endforeach()
    list(FILTER sources EXCLUDE REGEX "${iwseg_left_out}")
    if(NOT sources)
        file(WRITE ${CMAKE_BINARY_DIR}/empty.cpp "")
        set(sources ${CMAKE_BINARY_DIR}/empty.cpp)
    endif()
    add_library(iwseg_${name} STATIC ${sources})
    add_library(iwseg::${name} ALIAS iwseg_${name})
    target_include_directories(iwseg_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_compile_features(iwseg_${name} PUBLIC cxx_std_20)
    if(ARG_RELEASE)
        target_compile_options(iwseg_${name} PRIVATE
            "$<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:${ARG_RELEASE};-ffunction-sections;-fdata-sections>")
    endif()
    foreach(used ${ARG_USES})
        target_link_libraries(iwseg_${name} PUBLIC iwseg_${used})
    endforeach()
    target_link_libraries(iwseg_${name} PRIVATE $<BUILD_INTERFACE:iwseg_flags> ${ARG_LINK})
    set_target_properties(iwseg_${name} PROPERTIES EXPORT_NAME ${name})
endfunction()

# iwseg_optimise(PATTERNS flag...): what a release build optimises files by that differ from the rest of their library.
function(iwseg_optimise patterns)
    list(TRANSFORM patterns PREPEND ${PROJECT_SOURCE_DIR}/)
    file(GLOB files CONFIGURE_DEPENDS ${patterns})
    list(JOIN ARGN "$<SEMICOLON>" flags)
    set_property(SOURCE ${files} APPEND PROPERTY COMPILE_OPTIONS "$<$<CONFIG:Release>:${flags}>")
endfunction()
