# Whether the CUDA backend is compiled, for which cards, and how.
set(IWSEG_HAS_CUDA OFF)
if(NOT IWSEG_CUDA STREQUAL "OFF")
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        # Fixed, so that a build does not depend on the card at hand: Turing to Blackwell, where nvcc knows it, and
        # Hopper's PTX for what comes after. Others: CMAKE_CUDA_ARCHITECTURES, or CUDAARCHS in the environment.
        if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT "$ENV{CUDAARCHS}" STREQUAL "")
            set(CMAKE_CUDA_ARCHITECTURES "$ENV{CUDAARCHS}" CACHE STRING "compute capabilities")
        endif()
        set(chosen_architectures "${CMAKE_CUDA_ARCHITECTURES}")
        if(NOT chosen_architectures)
            set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90 CACHE STRING "compute capabilities")
        endif()
        enable_language(CUDA)
        if(NOT chosen_architectures AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
            set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90 100-real 120-real CACHE STRING
                "compute capabilities" FORCE)
        endif()
        # CMake before 3.26 does not know that nvcc takes it.
        if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
            set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
            set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
        endif()
        set(CMAKE_CUDA_STANDARD 20)
        set(CMAKE_CUDA_STANDARD_REQUIRED ON)
        find_package(CUDAToolkit REQUIRED)
        find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
        find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
        if(CUDNN_INCLUDE AND CUDNN_LIBRARY)
            set(IWSEG_HAS_CUDA ON)
        endif()
    endif()
    if(NOT IWSEG_HAS_CUDA AND IWSEG_CUDA STREQUAL "ON")
        message(FATAL_ERROR "IWSEG_CUDA=ON needs nvcc and cuDNN, and one of them was not found")
    endif()
endif()
message(STATUS "CUDA backend: ${IWSEG_HAS_CUDA}")

# Adds all .cu of kernels/ to the kernels' target, or the file that says there are none.
function(iwseg_add_cuda_kernels)
    if(NOT IWSEG_HAS_CUDA)
        target_sources(iwseg_kernels PRIVATE kernels/device/no_cuda.cpp)
        return()
    endif()
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
    target_sources(iwseg_kernels PRIVATE ${sources})
    # Only .cu see CUDA's headers: what is compiled for the CPU is the same with a CUDA backend and without.
    target_include_directories(iwseg_kernels SYSTEM PRIVATE
                               "$<$<COMPILE_LANGUAGE:CUDA>:${CUDAToolkit_INCLUDE_DIRS};${CUDNN_INCLUDE}>")
    target_link_libraries(iwseg_kernels PRIVATE
        "$<LINK_ONLY:CUDA::cudart_static;CUDA::cublas;CUDA::cublasLt;${CUDNN_LIBRARY}>")
    set_target_properties(iwseg_kernels PROPERTIES CUDA_COMPILER_LAUNCHER
        ${PROJECT_SOURCE_DIR}/cmake/keep_resource_report.sh)
    # -fmad stays on: kernels are held to references in double precision, not to the CPU's bits.
    target_compile_options(iwseg_kernels PRIVATE
        "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Xptxas=-v;-Xcompiler=-Wall,-Wextra,-Wno-psabi>")
    if(IWSEG_WERROR)
        target_compile_options(iwseg_kernels PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Werror>")
    endif()
endfunction()
