#pragma once

namespace iwseg::simt {

/// Where a barrier or warp intrinsic stands in the kernel: std::source_location, which clang has from 16 on only.
struct CallSite {
    const char* file;
    unsigned line;

    /// As a default argument: where the function that has it is called.
    static constexpr CallSite current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        return {file, line};
    }
};

}  // namespace iwseg::simt
