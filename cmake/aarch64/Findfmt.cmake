# fmt from its headers alone, which are the same for every processor.
find_path(FMT_INCLUDE fmt/format.h REQUIRED)
if(NOT TARGET fmt::fmt-header-only)
    add_library(fmt::fmt-header-only INTERFACE IMPORTED)
    target_include_directories(fmt::fmt-header-only INTERFACE ${FMT_INCLUDE})
    target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY=1)
    add_library(fmt::fmt ALIAS fmt::fmt-header-only)
endif()
set(fmt_FOUND TRUE)
