# The program, and the part that other C++ programs embed: libraries, headers, find_package(iwseg) and pkg-config.
include(CMakePackageConfigHelpers)
include(cmake/public_headers.cmake)
include(cmake/pkg_config.cmake)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/iwseg)
if(IWSEG_ONEDNN)
    set_target_properties(iwseg_onednn PROPERTIES EXPORT_NAME onednn)
endif()
install(TARGETS iwseg_base iwseg_components iwseg_kernels iwseg_engine iwseg_models iwseg_losses iwseg_training iwseg_c_api
        ${iwseg_onednn} EXPORT iwseg ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(IWSEG_SHARED)
    install(TARGETS iwseg_shared EXPORT iwseg LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(EXPORT iwseg NAMESPACE iwseg:: FILE iwsegTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/iwsegConfig.cmake.in ${CMAKE_BINARY_DIR}/iwsegConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/iwsegConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/iwsegConfig.cmake ${CMAKE_BINARY_DIR}/iwsegConfigVersion.cmake
        DESTINATION ${package_dir})
if(IWSEG_APPS)
    install(TARGETS iwseg RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
