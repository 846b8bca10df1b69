#include "engine/ops/concat.h"

#include <cstdint>
#include <optional>
#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class ConcatOperation final : public Operation {
  public:
    explicit ConcatOperation(std::string name, std::size_t parts) : name_(std::move(name)), parts_(parts) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        Shape sum = inputs.at(0);
        for (std::size_t i = 1; i < inputs.size(); ++i) {
            Shape same = inputs[i];
            same.c = inputs[0].c;
            if (!(same == inputs[0]))
                throw std::invalid_argument("concat: tensors of the shapes " + text_of(inputs[0]) + " and " +
                                            text_of(inputs[i]) + ", which may differ in their channels alone");
            sum.c += inputs[i].c;
        }
        return {sum};
    }

    /// Where the first of two parts can be made so, the other one lying as it does.
    std::optional<PlaneMaker> planes(const Lowering& lowering) const override {
        auto made = parts_ == 2 ? lowering.planes_of(0) : std::nullopt;
        if (!made || made->rest) return std::nullopt;  // of a concatenation before, the rest would be two tensors
        made->rest = lowering.input(1);
        return made;
    }

    void forward(const Lowering& lowering) const override {
        if (!lowering.output_wanted()) return;
        const Buffer y = lowering.output();
        std::vector<Part> parts;
        Call call{name_, "concat", {}, {y}, {}};
        std::int64_t first = 0;
        for (std::size_t i = 0; i < parts_; ++i) {
            const Buffer part = lowering.input(static_cast<int>(i));
            const BufferSpec& spec = lowering.program()[part];
            parts.push_back({part, first, offset_in(lowering.program()[y], spec, first)});
            call.reads.push_back(part);
            if (parts.back().offset) call.shares.push_back({part, y, *parts.back().offset});
            first += spec.shape.c;
        }
        // One call, so that nothing else gets memory of the result before all parts lie in it.
        call.run = [=](const Plan& plan) {
            for (const Part& part : parts) {
                const View from = plan[part.buffer];
                if (part.offset && from.data == plan.data<char>(y) + *part.offset) continue;
                plan.device().copy_channels(plan.stream(), from, 0, plan[y], part.first, from.shape.c,
                                            Write::overwrite);
            }
        };
        lowering.add(std::move(call));
    }

    void backward(const Lowering& lowering) const override {
        const Buffer diff_y = lowering.output_gradient();
        std::int64_t first = 0;
        for (std::size_t i = 0; i < parts_; ++i) {
            const int number = static_cast<int>(i);
            const std::int64_t channels = lowering.program()[lowering.input(number)].shape.c;
            if (lowering.wants_gradient(number)) add_part_gradient(lowering, number, diff_y, first, channels);
            first += channels;
        }
    }

  private:
    struct Part {
        Buffer buffer;
        std::int64_t first;                  ///< of the result's channels
        std::optional<std::int64_t> offset;  ///< bytes of the result before it, where it lies there in one piece
    };

    /// Where a part lies in the result, whose channels begin with its own `first`; none where it lies in pieces there.
    static std::optional<std::int64_t> offset_in(const BufferSpec& whole, const BufferSpec& part, std::int64_t first) {
        const Layout layout = whole.form.layout;
        if (whole.shape.n != 1 || layout == Layout::ndhwc || !(part.form == whole.form)) return std::nullopt;
        const std::int64_t block = block_of(layout, whole.shape.c), end = first + part.shape.c;
        // Zeros that fill a part's last block are the result's only where they end it.
        if (first % block != 0 || (end % block != 0 && end != whole.shape.c)) return std::nullopt;
        return bytes_of({1, first, whole.shape.d, whole.shape.h, whole.shape.w}, whole.form.type, layout);
    }
    void add_part_gradient(const Lowering& lowering, int number, Buffer diff_y, std::int64_t first,
                           std::int64_t channels) const {
        const auto [diff_x, write] = lowering.input_gradient(number);
        Call call{name_ + " backward " + std::to_string(number), "concat backward", {diff_y}, {diff_x}, {}};
        call.run = [=, diff_x = diff_x, write = write](const Plan& plan) {
            plan.device().copy_channels(plan.stream(), plan[diff_y], first, plan[diff_x], 0, channels, write);
        };
        if (write == Write::accumulate) call.reads.push_back(diff_x);
        lowering.add(std::move(call));
    }

    std::string name_;
    std::size_t parts_;
};

}  // namespace

Tensor concat(const std::vector<Tensor>& parts) {
    if (parts.empty()) throw std::invalid_argument("concat: expected at least one tensor");
    Graph& graph = *parts[0].graph;
    return graph.add_one(std::make_shared<ConcatOperation>(graph.fresh_name("concat"), parts.size()), parts);
}

Tensor concat(Tensor a, Tensor b) {
    return concat(std::vector<Tensor>{a, b});
}

}  // namespace iwseg
