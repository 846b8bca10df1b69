// Every operation of tests/operation_table.h as a program meets it, in a graph that is compiled and run, on every
// backend, in every layout and type: its result is held to the definition in double precision, its gradients to central
// differences of that.
#include "tests/support/operation_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "engine/compile.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/lowering.h"
#include "engine/plan.h"
#include "tests/support/operation_forms.h"

namespace iwseg {
namespace {

/// A tensor on its way into a graph, or out of it, as it lies there.
struct Carried {
    Array values;
    std::optional<KernelTensor> value = {}, gradient = {};

    explicit Carried(Array array) : values(std::move(array)) {}
};
using SharedCarried = std::shared_ptr<Carried>;

KernelTensor made_for(const Lowering& lowering, Buffer buffer, const Array& values) {
    const BufferSpec& spec = lowering.program()[buffer];
    return {lowering.device(), values, spec.form.layout, spec.form.type};
}

void add_copy(const Lowering& lowering, const std::string& name, Buffer from, View to) {
    lowering.add(
        {name, "copies", {from}, {}, [=](const Plan& plan) { plan.device().copy(plan.stream(), plan[from], to); }});
}

/// An operand: gives what it carries, and takes its gradient, for the sake of which it has a parameter.
class OperandOperation final : public Operation {
  public:
    OperandOperation(std::string name, SharedCarried carried) : name_(std::move(name)), carried_(std::move(carried)) {}
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>&) const override { return {carried_->values.shape}; }
    std::vector<ParameterSpec> parameters(const std::vector<Shape>&) const override { return {{name_, {4}}}; }
    FormRule form_rule() const override { return FormRule::own; }
    Form output_form(int, const Form&, const Form& usual) const override { return usual; }

    void forward(const Lowering& lowering) const override {
        const Buffer y = lowering.output();
        carried_->value.emplace(made_for(lowering, y, carried_->values));
        lowering.add({name_, "operand", {}, {y}, [=, from = carried_->value->view()](const Plan& plan) {
                          plan.device().copy(plan.stream(), from, plan[y]);
                      }});
    }
    void backward(const Lowering& lowering) const override {
        const Buffer gradient = lowering.output_gradient();
        carried_->gradient.emplace(made_for(lowering, gradient, Array(carried_->values.shape)));
        add_copy(lowering, name_ + " gradient", gradient, carried_->gradient->view());
    }

  private:
    std::string name_;
    SharedCarried carried_;
};

/// A loss: takes what its inputs hold, and gives them gradients, those that their `values` are.
class ProbeOperation final : public Operation {
  public:
    explicit ProbeOperation(std::vector<SharedCarried> carried) : carried_(std::move(carried)) {}
    std::string name() const override { return "probe"; }
    std::vector<Shape> outputs(const std::vector<Shape>&) const override { return {Shape{}}; }
    FormRule form_rule() const override { return FormRule::own; }
    Form output_form(int, const Form&, const Form&) const override { return {Type::f64, Layout::ncdhw}; }

    void forward(const Lowering& lowering) const override {
        for (std::size_t i = 0; i < carried_.size(); ++i) {
            const Buffer x = lowering.input(static_cast<int>(i));
            carried_[i]->value.emplace(made_for(lowering, x, carried_[i]->values));
            add_copy(lowering, "probe", x, carried_[i]->value->view());
        }
        const Buffer loss = lowering.output();
        lowering.add({"loss", "loss", {}, {loss}, [=](const Plan& plan) {
                          plan.device().set_zero(plan.stream(), plan[loss].data, sizeof(double));
                      }});
    }
    void backward(const Lowering& lowering) const override {
        for (std::size_t i = 0; i < carried_.size(); ++i) {
            const auto [to, write] = lowering.input_gradient(static_cast<int>(i));
            ASSERT_EQ(write, Write::overwrite);
            carried_[i]->gradient.emplace(made_for(lowering, to, carried_[i]->values));
            lowering.add({"probe gradient",
                          "loss",
                          {},
                          {to},
                          [=, to = to, from = carried_[i]->gradient->view()](const Plan& plan) {
                              plan.device().copy(plan.stream(), from, plan[to]);
                          }});
        }
    }

  private:
    std::vector<SharedCarried> carried_;
};

/// A row's operation with what it is computed of.
struct Case {
    const OperationRow& row;
    std::size_t operands = 0;
    Arrays values = {};                ///< of the operands, then of the parameters
    Arrays extra = {};                 ///< gradients that the operands have from elsewhere, or none
    std::optional<Array> weight = {};  ///< the gradient of the result

    Array expected() const { return row.result(values); }
};

/// What a step leaves.
struct Outcome {
    Array result;
    Arrays gradients;  ///< of operands and parameters
    bool padding_is_zero = true;
};

class OperationTable : public OperationTest {
  protected:
    void SetUp() override {
        OperationTest::SetUp();
        if (!IsSkipped()) context_.emplace(device(), ContextOptions{.threads = 2});
    }

    double allowed(const OperationRow& row) const { return GetParam().type == Type::f32 ? row.f32 : row.bf16; }
    bool taken(const OperationRow& row) const {
        return row.plain || GetParam().backend == TestBackend::cpu || GetParam().layout != Layout::ncdhw;
    }

    Case drawn(const OperationRow& row, bool with_extra) {
        Case made{row};
        ShapeDraw draw(random_);
        for (const Shape& shape : row.shapes(draw)) made.values.push_back(noise(shape));
        made.operands = made.values.size();
        for (std::size_t i = 0; with_extra && i < made.operands; ++i) made.extra.push_back(noise(made.values[i].shape));
        return made;
    }

    /// Two steps; draws the weight and the parameters where the case has none.
    std::vector<Outcome> run(Case& of) {
        const KernelArray<std::uint64_t> seed_and_step(device(), {kSeed, kStep});
        if (of.row.source) of.row.source->seed_and_step = seed_and_step.data();
        Graph graph;
        std::vector<SharedCarried> given, probed;
        std::vector<Tensor> x;
        for (std::size_t i = 0; i < of.operands; ++i) {
            given.push_back(std::make_shared<Carried>(of.values[i]));
            x.push_back(
                graph.add_one(std::make_shared<OperandOperation>("operand " + std::to_string(i), given.back()), {}));
        }
        std::vector<Tensor> seen{of.row.build(x)};
        if (!of.weight) of.weight = noise(seen[0].shape());
        probed.push_back(std::make_shared<Carried>(*of.weight));
        for (std::size_t i = 0; i < of.extra.size(); ++i) {
            seen.push_back(x[i]);
            probed.push_back(std::make_shared<Carried>(of.extra[i]));
        }
        const Tensor loss = graph.add_one(std::make_shared<ProbeOperation>(probed), seen);
        Parameters parameters;
        Compiled made = compile(
            graph, *context_, parameters,
            {.training = true, .bf16 = GetParam().type == Type::bf16, .layout = GetParam().layout, .minimise = {loss}});
        parameters.place(device(), context_->stream(), true);
        initialise(*context_, parameters, 1);
        set_parameters(of, parameters);
        Plan plan(*context_, made.program);
        std::vector<Outcome> outcomes;
        for (int run = 0; run < 2; ++run) {
            plan.run();
            parameters.download();
            outcomes.push_back(outcome_of(of, *probed[0], given, parameters));
        }
        return outcomes;
    }

    /// Equals the definition, and its gradients central differences of that, in random shapes; two steps leave the
    /// same.
    void check(const OperationRow& row) {
        Case of = drawn(row, below(0, 1) == 1);
        SCOPED_TRACE(row.name + " of " + text_of(of.values[0].shape));
        const std::vector<Outcome> outcomes = run(of);
        const auto& [result, gradients, padding_is_zero] = outcomes[0];
        EXPECT_TRUE(padding_is_zero);
        expect_close(result, of.expected(), allowed(row));
        EXPECT_EQ(outcomes[1].result.values, result.values) << "of another step";
        for (std::size_t i = 0; i < of.values.size(); ++i) {
            EXPECT_EQ(outcomes[1].gradients[i].values, gradients[i].values) << "of another step";
            Array gradient = gradients[i];
            const double largest = largest_of(gradient);  // with what is added to it: that is rounded too
            for (std::size_t k = 0; i < of.extra.size() && k < gradient.values.size(); ++k)
                gradient.values[k] -= of.extra[i].values[k];
            check_gradient(of, i, gradient, std::max(largest, largest_of(gradient)));
        }
    }

    /// What is not finite comes out where and as the definition has it.
    void check_what_is_not_finite(const OperationRow& row) {
        Case of = drawn(row, false);
        SCOPED_TRACE(row.name + " of " + text_of(of.values[0].shape));
        constexpr double kInfinity = std::numeric_limits<double>::infinity();
        for (Array& x : of.values)
            for (const double planted : {std::nan(""), kInfinity, -kInfinity})
                for (int i = 0; i < 3; ++i) x.values[place_in(x)] = planted;
        const Array got = run(of)[0].result, expected = of.expected();
        double largest = 1e-30;
        for (const double v : expected.values) largest = std::isfinite(v) ? std::max(largest, std::abs(v)) : largest;
        for (std::size_t i = 0; i < got.values.size(); ++i) {
            const double a = got.values[i], b = expected.values[i];
            if (std::isnan(b))
                ASSERT_TRUE(std::isnan(a)) << "place " << i << " holds " << a;
            else if (std::isinf(b))
                ASSERT_EQ(a, b) << "place " << i;
            else
                ASSERT_NEAR(a, b, allowed(row) * largest) << "place " << i;
        }
    }

    std::optional<Context> context_;

  private:
    static double largest_of(const Array& array) {
        double largest = 0;
        for (const double value : array.values) largest = std::max(largest, std::abs(value));
        return largest;
    }
    std::size_t place_in(const Array& x) {
        return static_cast<std::size_t>(below(0, static_cast<std::int64_t>(x.values.size()) - 1));
    }

    /// The learned ones follow those of the operands.
    void set_parameters(Case& of, Parameters& parameters) {
        const bool draws = of.values.size() == of.operands;
        for (std::size_t p = of.operands; p < static_cast<std::size_t>(parameters.size()); ++p) {
            const ParameterId id{static_cast<int>(p)};
            if (!parameters[id].learned) continue;
            if (draws) of.values.push_back(noise(Shape{1, 1, 1, 1, parameters[id].elements}));
            std::copy(of.values[p].values.begin(), of.values[p].values.end(), parameters.value(id));
        }
        parameters.upload();
    }

    static Outcome outcome_of(const Case& of, const Carried& result, const std::vector<SharedCarried>& operands,
                              const Parameters& parameters) {
        Outcome outcome{result.value->array(), {}, result.value->padding_is_zero()};
        for (const SharedCarried& operand : operands) {
            outcome.gradients.push_back(operand->gradient->array());
            outcome.padding_is_zero = outcome.padding_is_zero && operand->gradient->padding_is_zero();
        }
        for (std::size_t p = of.operands; p < of.values.size(); ++p) {
            Array gradient(of.values[p].shape);
            std::copy_n(parameters.gradient({static_cast<int>(p)}), gradient.values.size(), gradient.values.begin());
            outcome.gradients.push_back(std::move(gradient));
        }
        return outcome;
    }

    /// Some places of a gradient, where the function has a derivative.
    void check_gradient(Case& of, std::size_t which, const Array& gradient, double largest) {
        // Rows whose results are exact have gradients that are sums, rounded up to twice.
        const double rounding = GetParam().type == Type::f32 ? 1e-6 : 4e-3;
        std::vector<double>& x = of.values[which].values;
        const auto value = [&](std::size_t place, double at) {
            const double kept = std::exchange(x[place], at);
            const Array y = of.expected();
            x[place] = kept;
            double sum = 0;
            for (std::size_t i = 0; i < y.values.size(); ++i) sum += y.values[i] * of.weight->values[i];
            return sum;
        };
        for (int i = 0; i < 8; ++i) {
            const std::size_t place = place_in(of.values[which]);
            // Errors of order step^2, and 1e-14 / step of rounding. Where both sides differ there is no derivative, or
            // none within a step: what a kink near the end of one side does to their mean must stay within the
            // tolerance.
            constexpr double kStep = 1e-5;
            const double tolerance = std::max(allowed(of.row), rounding) * largest + 1e-5;
            const double here = value(place, x[place]);
            const double left = (here - value(place, x[place] - kStep)) / kStep,
                         right = (value(place, x[place] + kStep) - here) / kStep;
            if (std::abs(left - right) > tolerance) continue;
            EXPECT_NEAR(gradient.values[place], (left + right) / 2, tolerance)
                << "operand " << which << ", place " << place;
        }
    }
};

TEST_P(OperationTable, ResultsAndGradientsEqualTheDefinition) {
    for (const OperationRow& row : operation_rows()) {
        if (!taken(row)) continue;
        for (int draw = 0; draw < 3; ++draw) {
            simt::schedule_by(draw ? random_() | 1 : 0);
            check(row);
            simt::check_sentinels();
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(OperationTable, WhatIsNotFinitePropagatesAsInPyTorch) {
    for (const OperationRow& row : operation_rows())
        if (taken(row) && !row.finite_only) check_what_is_not_finite(row);
}

/// All of them, and plain channels on a GPU.
std::vector<OperationForm> table_forms() {
    std::vector<OperationForm> forms = kForms;
    forms.push_back({TestBackend::simt, Layout::ncdhw, Type::f32});
    forms.push_back({TestBackend::cuda, Layout::ncdhw, Type::f32});
    return forms;
}

INSTANTIATE_TEST_SUITE_P(Forms, OperationTable, testing::ValuesIn(table_forms()), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
