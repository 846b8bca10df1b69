# Installs the build, builds the program against it and runs it. Given: BUILD, WEIGHTS, COMPILER.
cmake_path(GET CMAKE_CURRENT_LIST_FILE PARENT_PATH source)
set(installed ${BUILD}/embed/installed)
file(REMOVE_RECURSE ${BUILD}/embed)

function(must)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    message("${output}")
    if(NOT result EQUAL 0)
        message(FATAL_ERROR "failed with ${result}: ${ARGN}")
    endif()
endfunction()

must(${CMAKE_COMMAND} --install ${BUILD} --prefix ${installed})
must(${CMAKE_COMMAND} -S ${source} -B ${BUILD}/embed/build -D CMAKE_PREFIX_PATH=${installed}
     -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Release)
must(${CMAKE_COMMAND} --build ${BUILD}/embed/build)
must(${BUILD}/embed/build/embed ${WEIGHTS})
