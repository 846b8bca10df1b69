#include <span>

#include "fuzz_file.h"
#include "import/pickle.h"

namespace {

/// All that can be reached without going in circles.
void visit(const iwseg::Pickle::Value& value, int depth) {
    using Kind = iwseg::Pickle::Kind;
    if (depth == 0) return;
    if (value.kind() == Kind::dictionary)
        for (const auto& [key, item] : value.entries()) visit(item, depth - 1);
    if (value.kind() == Kind::list || value.kind() == Kind::tuple)
        for (std::size_t i = 0; i < std::min<std::size_t>(value.size(), 8); ++i) visit(value[i], depth - 1);
    if (value.kind() == Kind::tensor) value.tensor();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    iwseg::read_or_refuse([&] {
        const iwseg::Pickle pickle(std::as_bytes(std::span(data, size)), "fuzzed");
        visit(pickle.root(), 3);
    });
    return 0;
}
