# iwseg.pc (the C interface, shared or static), iwseg-cxx.pc (the C++ libraries, which are static) and iwseg-components.pc.
# Paths are counted from the file, so that an installed tree may be moved.

set(pkg_config_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pkg_config_prefix /prefix/${pkg_config_dir} /prefix)
string(REGEX REPLACE "/$" "" pkg_config_prefix ${pkg_config_prefix})
set(components_libraries "-liwseg_components -liwseg_base -pthread")
set(system_libraries "-ldl")
if(IWSEG_ONEDNN)
    string(PREPEND system_libraries "-ldnnl ")
endif()
if(IWSEG_HAS_CUDA)
    string(APPEND system_libraries " -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lcublas -lcublasLt ${CUDNN_LIBRARY} -lrt")
endif()
set(predicting_libraries "-liwseg_models -liwseg_engine -liwseg_kernels ${components_libraries} ${system_libraries}")

# iwseg_pkg_config(NAME DESCRIPTION LIBS PRIVATE)
function(iwseg_pkg_config name description libs private)
    configure_file(cmake/pkg_config.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${pkg_config_dir})
endfunction()

if(IWSEG_SHARED)
    iwseg_pkg_config(iwseg "3D lesion segmentation: the C interface" "-liwseg" "${predicting_libraries} -lstdc++ -lm")
else()
    iwseg_pkg_config(iwseg "3D lesion segmentation: the C interface" "-liwseg ${predicting_libraries} -lstdc++ -lm" "")
endif()
iwseg_pkg_config(iwseg-cxx "3D lesion segmentation: training and prediction in C++"
                 "-liwseg_training -liwseg_losses ${predicting_libraries}" "")
iwseg_pkg_config(iwseg-components "Connected components and inverse weights of masks" "${components_libraries}" "")
