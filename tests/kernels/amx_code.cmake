# Disassembles what was compiled of the tile instructions: each loop of tile_products.h has to be there, and nothing but its
# own loads and stores, as a tile that is put by in between would be seen nowhere else. -D OBJDUMP=the tool,
# -D OBJECTS=objects, divided by commas.
string(REPLACE "," ";" objects "${OBJECTS}")
list(FILTER objects INCLUDE REGEX "processor_products")
if(NOT objects)
    message(FATAL_ERROR "there is no object of processor_products.cpp")
endif()
execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${objects} OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
# Of 1, 2, 3, 4, 2 and 4 sums are both kinds of loops, and of 4 those in registers.
foreach(wanted "tilestored;36" "ldtilecfg;1" "tilerelease;1" "sttilecfg;0")
    list(GET wanted 0 instruction)
    list(GET wanted 1 times)
    string(REGEX MATCHALL "${instruction}" found "${code}")
    list(LENGTH found count)
    if(NOT count EQUAL times)
        message(FATAL_ERROR "${instruction} is there ${count} times and not ${times}")
    endif()
endforeach()
# The arrangement that reaches the peak: four products of two loads each.
foreach(wanted "tdpbf16ps[ \t]+%tmm6, ?%tmm4, ?%tmm0" "tdpbf16ps[ \t]+%tmm7, ?%tmm4, ?%tmm2" "tdpbf16ps[ \t]+%tmm6, ?%tmm5, ?%tmm1"
        "tdpbf16ps[ \t]+%tmm7, ?%tmm5, ?%tmm3" "tileloadd[ \t]+\\(")
    if(NOT code MATCHES "${wanted}")
        message(FATAL_ERROR "no instruction is ${wanted}")
    endif()
endforeach()
