// Stands for the executor in builds that leave it out (-DIWSEG_EXECUTOR=OFF).
#include "base/error.h"
#include "tests/simt/simt_backend.h"

namespace iwseg::simt {

const Backend& backend() {
    throw InputError("the executor is not in this build (IWSEG_EXECUTOR is OFF)");
}

void check_sentinels() {}
MatrixLoads matrix_loads() {
    return {};
}
void schedule_by(std::uint64_t) {}
Unwatched::Unwatched() = default;
Unwatched::~Unwatched() = default;

}  // namespace iwseg::simt
