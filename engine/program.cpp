#include "engine/program.h"

namespace iwseg {

Tensor Program::add(TensorSpec spec) {
    tensors_.push_back(std::move(spec));
    return static_cast<Tensor>(tensors_.size()) - 1;
}

Tensor Program::add_bytes(const std::string& name, std::int64_t bytes) {
    return add({name, Shape{1, 1, 1, 1, bytes}, Type::u8, Layout::ncdhw});
}

}  // namespace iwseg
