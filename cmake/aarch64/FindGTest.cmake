# GoogleTest compiled from the sources that Debian's package googletest installs.
find_path(GTEST_SOURCE src/gtest-all.cc PATHS /usr/src/googletest/googletest NO_DEFAULT_PATH REQUIRED)
add_library(gtest_main STATIC EXCLUDE_FROM_ALL ${GTEST_SOURCE}/src/gtest-all.cc ${GTEST_SOURCE}/src/gtest_main.cc)
target_include_directories(gtest_main SYSTEM PUBLIC ${GTEST_SOURCE}/include PRIVATE ${GTEST_SOURCE})
target_link_libraries(gtest_main PUBLIC Threads::Threads)
add_library(GTest::gtest_main ALIAS gtest_main)
add_library(GTest::gtest ALIAS gtest_main)  # its main is linked where a program has none
set(GTest_FOUND TRUE)
