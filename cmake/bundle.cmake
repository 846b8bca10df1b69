# A folder that runs elsewhere (cmake --install BUILD --prefix DIR --component bundle): the program, the tests of kernels
# and networks, their goldens, and every library that is neither glibc nor the GPU vendor's, so g++'s own too: the other
# machine's may be older. Looked up by $ORIGIN.
function(iwseg_bundle)
    set(targets iwseg test_backends)
    set_target_properties(${targets} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
    # A RPATH, where today's default is a RUNPATH: what the libraries need themselves (oneDNN's libgomp, NIfTI's libznz)
    # is looked up by it too.
    foreach(target ${targets})
        target_link_options(${target} PRIVATE LINKER:--disable-new-dtags)
    endforeach()
    install(TARGETS ${targets} RUNTIME_DEPENDENCY_SET iwseg_libraries
            RUNTIME DESTINATION bin COMPONENT bundle EXCLUDE_FROM_ALL)
    install(RUNTIME_DEPENDENCY_SET iwseg_libraries
            PRE_EXCLUDE_REGEXES "^lib(c|m|dl|rt|pthread|cuda|cudnn.*|cublas.*|nvrtc.*)\\.so.*" "^ld-linux"
            POST_EXCLUDE_REGEXES "/libcuda\\.so"
            LIBRARY DESTINATION lib COMPONENT bundle EXCLUDE_FROM_ALL)
    install(DIRECTORY tests/golden DESTINATION share COMPONENT bundle EXCLUDE_FROM_ALL)
endfunction()
