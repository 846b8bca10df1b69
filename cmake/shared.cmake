# The C interface: libiwseg.a beside the other static libraries, and libiwseg.so, which holds all that it needs of them.
iwseg_folder(c_api USES models)
# In both, nothing is seen from outside but what is marked.
set_target_properties(iwseg_c_api PROPERTIES OUTPUT_NAME iwseg CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_definitions(iwseg_c_api PRIVATE IWSEG_VERSION="${PROJECT_VERSION}")
if(IWSEG_SHARED)
    add_library(iwseg_shared SHARED $<TARGET_OBJECTS:iwseg_c_api>)
    add_library(iwseg::shared ALIAS iwseg_shared)
    target_include_directories(iwseg_shared INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/public>
                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(iwseg_shared PRIVATE iwseg_models iwseg_flags)
    # Templates of the standard library are visible whatever is asked for; two copies of this library must not share
    # theirs, and the OpenMP functions that oneDNN is served by in programs are not for a host's OpenMP to find.
    set(exports ${PROJECT_SOURCE_DIR}/c_api/exports.map)
    target_link_options(iwseg_shared PRIVATE LINKER:--version-script=${exports} LINKER:--no-undefined
                        LINKER:--as-needed)
    # The number of the binary interface, which changes where a program must be compiled anew.
    set_target_properties(iwseg_shared PROPERTIES OUTPUT_NAME iwseg VERSION ${PROJECT_VERSION} SOVERSION 0
                          EXPORT_NAME shared LINK_DEPENDS ${exports})
endif()
