#include "engine/program.h"

#include <iterator>

namespace iwseg {

Buffer Program::add(BufferSpec spec) {
    buffers_.push_back(std::move(spec));
    return {static_cast<int>(buffers_.size()) - 1};
}

Buffer Program::add_bytes(const std::string& name, std::int64_t bytes) {
    return add({name, Shape{1, 1, 1, 1, bytes}, {Type::u8, Layout::ncdhw}});
}

void Program::add_first(std::vector<Call> calls) {
    calls_.insert(calls_.begin(), std::make_move_iterator(calls.begin()), std::make_move_iterator(calls.end()));
}

}  // namespace iwseg
