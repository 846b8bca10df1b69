#include "engine/ops/concat.h"

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

    void forward(const Lowering& lowering) const override {
        std::vector<Buffer> parts;
        for (std::size_t i = 0; i < parts_; ++i) parts.push_back(lowering.input(static_cast<int>(i)));
        const Buffer y = lowering.output();
        // One call, so that nothing else gets memory of the result before all parts lie in it.
        lowering.add({name_, "concat", parts, {y}, [=](const Plan& plan) {
                          std::int64_t first = 0;
                          for (const Buffer part : parts) {
                              const View from = plan[part];
                              plan.device().copy_channels(plan.stream(), from, 0, plan[y], first, from.shape.c,
                                                          Write::overwrite);
                              first += from.shape.c;
                          }
                      }});
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
