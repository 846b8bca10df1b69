# Installs the build, builds the programs of examples/ against it, and runs them. Given: BUILD, SOURCE, WEIGHTS, COMPILER.
set(installed ${BUILD}/examples/installed)
file(REMOVE_RECURSE ${BUILD}/examples)

function(must)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${BUILD} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    message("${output}")
    if(NOT result EQUAL 0)
        message(FATAL_ERROR "failed with ${result}: ${ARGN}")
    endif()
endfunction()

must(${CMAKE_COMMAND} --install ${BUILD} --prefix ${installed})
# Nothing is installed but under the project's name.
file(GLOB headers RELATIVE ${installed}/include ${installed}/include/*)
if(NOT headers STREQUAL "iwseg")
    message(FATAL_ERROR "headers outside of include/iwseg: ${headers}")
endif()
# Warnings of headers are the programs' that include them.
must(${CMAKE_COMMAND} -S ${SOURCE}/examples -B ${BUILD}/examples/build -D CMAKE_PREFIX_PATH=${installed}
     -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror"
     -D CMAKE_NO_SYSTEM_FROM_IMPORTED=ON)
must(${CMAKE_COMMAND} --build ${BUILD}/examples/build)
must(${BUILD}/examples/build/predict ${WEIGHTS})
must(${BUILD}/examples/build/own_network)
must(${BUILD}/examples/build/own_operation)
