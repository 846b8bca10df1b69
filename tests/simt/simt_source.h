#pragma once

#include <cstdint>
#include <string>
#include <vector>

// Where in the source code an address of the running program is, by the line tables that kernels are compiled with
// (-g1) and binutils' addr2line.
namespace iwseg::simt {

struct SourceLine {
    std::string file;  ///< without folders; empty where it is not known
    int line = 0;
    std::string function;
};

/// Offset of an address in the running program's file, which does not change from run to run.
std::uint32_t code_offset(const void* address);

/// For each offset the lines it stands for: innermost first, then where that function was inlined, and so on. Empty
/// where there is no addr2line or no line table.
std::vector<std::vector<SourceLine>> source_lines(const std::vector<std::uint32_t>& offsets);

/// "components.cu:46", or "pack.cuh:24 (in batch_norm.cu:88)" for code of a header that a kernel's file inlines.
std::string source_place(std::uint32_t offset);

/// The name of the function whose code begins there, without namespaces and parameters.
std::string function_name(const void* code);

}  // namespace iwseg::simt
