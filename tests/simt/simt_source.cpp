#include "tests/simt/simt_source.h"

#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

namespace iwseg::simt {
namespace {

std::uintptr_t program_base() {
    std::uintptr_t found = 0;
    ::dl_iterate_phdr(
        [](dl_phdr_info* program, std::size_t, void* to) {
            *static_cast<std::uintptr_t*>(to) = program->dlpi_addr;
            return 1;  // the program itself comes first
        },
        &found);
    return found;
}
const std::uintptr_t kBase = program_base();

std::string hexadecimal(std::uint32_t offset) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "0x%x", offset);
    return text.data();
}

/// Lines that a shell command prints.
std::vector<std::string> lines_of(const std::string& command) {
    std::vector<std::string> lines;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
    if (!pipe) return lines;
    std::array<char, 4096> part{};
    std::string line;
    while (std::fgets(part.data(), part.size(), pipe.get())) {
        line += part.data();
        if (line.empty() || line.back() != '\n') continue;
        line.pop_back();
        lines.push_back(std::move(line));
        line.clear();
    }
    return lines;
}

/// "/folder/name.cu:46 (discriminator 2)"
SourceLine parsed(const std::string& function, const std::string& place) {
    const std::size_t name = place.rfind('/') + 1, colon = place.rfind(':');
    if (place.starts_with("??") || colon == std::string::npos || colon < name) return {"", 0, function};
    return {place.substr(name, colon - name), std::atoi(place.c_str() + colon + 1), function};
}

/// iwseg::simt::(anonymous namespace)::flatten_kernel<4>(Cells, int) -> flatten_kernel<4>
std::string plain_name(const std::string& function) {
    int depth = 0;
    std::size_t first = 0, end = function.size();
    const std::string unnamed = "(anonymous namespace)::";
    for (std::size_t i = 0; i < function.size(); ++i) {
        if (depth == 0 && function.compare(i, unnamed.size(), unnamed) == 0) {
            i += unnamed.size() - 1;
            first = i + 1;
        } else if (function[i] == '(' && depth == 0) {
            end = i;
            break;
        } else if (function[i] == '<') {
            ++depth;
        } else if (function[i] == '>') {
            --depth;
        } else if (depth == 0 && (function[i] == ':' || function[i] == ' ')) {
            first = i + 1;
        }
    }
    return function.substr(first, end - first);
}

}  // namespace

std::uint32_t code_offset(const void* address) {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address) - kBase);
}

std::vector<std::vector<SourceLine>> source_lines(const std::vector<std::uint32_t>& offsets) {
    std::vector<std::vector<SourceLine>> all(offsets.size());
    std::array<char, 4096> program{};
    if (::readlink("/proc/self/exe", program.data(), program.size() - 1) <= 0) return all;
    constexpr std::size_t kAtOnce = 500;  // a command line holds no more than so many
    for (std::size_t begin = 0; begin < offsets.size(); begin += kAtOnce) {
        std::string command = "addr2line -a -i -f -C -e '" + std::string(program.data()) + "'";
        const std::size_t end = std::min(begin + kAtOnce, offsets.size());
        for (std::size_t i = begin; i < end; ++i) command += " " + hexadecimal(offsets[i]);
        const std::vector<std::string> lines = lines_of(command + " 2>/dev/null");
        std::size_t at = begin;
        for (std::size_t i = 0; i < lines.size();) {
            if (lines[i].starts_with("0x")) {
                at = i == 0 ? begin : at + 1;
                ++i;
            } else {
                if (i + 1 < lines.size() && at < end) all[at].push_back(parsed(lines[i], lines[i + 1]));
                i += 2;
            }
        }
    }
    return all;
}

std::string source_place(std::uint32_t offset) {
    const std::vector<SourceLine> lines = source_lines({offset})[0];
    std::string place;
    for (const SourceLine& line : lines) {
        if (line.file.empty() || (line.file.starts_with("simt") && line.file.ends_with(".h"))) continue;
        const std::string here = line.file + ":" + std::to_string(line.line);
        if (place.empty()) {
            place = here;
        } else if (line.file.ends_with(".cu") || line.file.ends_with("_test.cpp")) {
            return place + " (in " + here + ")";
        }
        if (line.file.ends_with(".cu")) return place;
    }
    return place.empty() ? "code at " + hexadecimal(offset) : place;
}

std::string function_name(const void* code) {
    const std::vector<SourceLine> lines = source_lines({code_offset(code)})[0];
    return lines.empty() ? "a kernel" : plain_name(lines.back().function);
}

}  // namespace iwseg::simt
