// Linear layers of many weights as products of matrices, on cuBLASLt's stand-in: the same as by our own kernels, and
// chosen where they are faster and right.
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>

#include "engine/compile.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/lowering.h"
#include "engine/ops/linear.h"
#include "engine/plan.h"
#include "kernels/elementwise/linear.h"
#include "kernels/elementwise/linear_products.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/cuda_host/on_card.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

using cuda::LinearPass;
using standin::ProductAlgorithm;

/// Large enough to be measured.
LinearForm large(Type type = Type::f32, bool bias = false) {
    return {.samples = 3, .inputs = 1024, .outputs = 512, .type = type, .bias = bias};
}

/// For matrices that are hardly aligned, as parameters are.
ProductAlgorithm algorithm(std::uint64_t id, double seconds) {
    return {.id = id, .seconds = seconds, .workspace_bytes = 512, .alignment = 4};
}

class LinearProduct : public CudaHost {
  protected:
    std::unique_ptr<LinearLayer> make(LinearForm form) const {
        form.plan_file = (folder_ / "plans.txt").string();
        return cuda::make_linear({}, form);
    }
    /// Of the passes: the number of the algorithm, in hexadecimal digits, or "own".
    std::string chosen(const LinearForm& form) const {
        const auto layer = make(form);
        return layer ? without_details(layer->implementation()) : "none";
    }
    static std::string without_details(std::string text) {
        for (std::size_t at; (at = text.find("cublaslt130100:")) != std::string::npos;) {
            const std::size_t comma = text.find(',', at), end = text.find(", ", at);
            text.replace(at, std::min(end, text.size()) - at, text.substr(at + 15, comma - at - 15));
        }
        return text;
    }

    std::mt19937 random_{std::random_device{}()};
};

/// A layer's operands, and what its passes make of them: by the layer or, without one, by our own kernels.
std::vector<std::vector<float>> results_of(const LinearForm& form, const LinearLayer* layer, Write write,
                                           unsigned seed) {
    std::mt19937 random(seed);
    const View x_like{nullptr, {form.samples, form.inputs, 1, 1, 1}, form.type, Layout::ndhwc},
        y_like{nullptr, {form.samples, form.outputs, 1, 1, 1}, form.type, Layout::ndhwc},
        weights_like{nullptr, {1, 1, 1, 1, form.weight_count() + 1}},
        bias_like{nullptr, {1, 1, 1, 1, form.outputs + 1}};
    const OnCard x(x_like, random), diff_y(y_like, random), weights(weights_like, random), bias(bias_like, random),
        y(y_like, random), diff_x(x_like, random), diff_weights(weights_like, random), diff_bias(bias_like, random);
    // Parameters begin where others end.
    float *const of_weights = weights.floats() + 1, *const of_bias = form.bias ? bias.floats() + 1 : nullptr;
    float* const of_diff_bias = form.bias ? diff_bias.floats() + 1 : nullptr;
    const KernelStream stream(cuda::backend());
    if (layer) {
        const DeviceMemory scratch(cuda::backend(), layer->scratch_bytes());
        layer->forward(stream, x.view(), of_weights, of_bias, y.view(), scratch.data());
        layer->backward_data(stream, diff_y.view(), of_weights, diff_x.view(), write, scratch.data());
        layer->backward_weights(stream, x.view(), diff_y.view(), diff_weights.floats() + 1, of_diff_bias,
                                scratch.data());
        cuda::synchronise(stream);
    } else {
        cuda::linear(stream, x.view(), of_weights, of_bias, y.view());
        cuda::linear_backward_data(stream, diff_y.view(), of_weights, diff_x.view(), write);
        cuda::linear_backward_weights(stream, x.view(), diff_y.view(), diff_weights.floats() + 1, of_diff_bias);
        cuda::synchronise(stream);
    }
    return {y.read(), diff_x.read(), diff_weights.read(), diff_bias.read()};
}

// In bf16 as well: what is multiplied is f32 in both, so that results are rounded once.
TEST_F(LinearProduct, EqualsOurOwnOfEveryForm) {
    standin::offer_algorithms({algorithm(9, 1e-7)});
    for (const Type type : {Type::f32, Type::bf16})
        for (const bool bias : {false, true})
            for (const Write write : {Write::overwrite, Write::accumulate}) {
                const LinearForm form{.samples = 1 + static_cast<std::int64_t>(random_() % 4),
                                      .inputs = 1 + static_cast<std::int64_t>(random_() % 60),
                                      .outputs = 1 + static_cast<std::int64_t>(random_() % 60),
                                      .type = type,
                                      .bias = bias};
                SCOPED_TRACE(cuda::name_of(form, LinearPass::forward));
                cuda::LinearProducts::Products products;
                for (const LinearPass pass : cuda::kLinearPasses)
                    products[static_cast<std::size_t>(pass)] =
                        cuda::matrix_products(cuda::product_of(form, pass)).at(0);
                const cuda::LinearProducts layer(form, std::move(products));
                const unsigned seed = random_();
                const auto got = results_of(form, &layer, write, seed), own = results_of(form, nullptr, write, seed);
                for (std::size_t i = 0; i < own.size(); ++i)
                    EXPECT_LT(largest_difference(got[i], own[i]), type == Type::bf16 ? 4e-3 : 1e-6) << "result " << i;
            }
}

TEST_F(LinearProduct, IsTakenWhereItIsFasterThanOurOwn) {
    std::filesystem::create_directories(folder_);
    standin::offer_algorithms({algorithm(1, 5e-7), algorithm(2, 1e-7)});  // where a launch of ours takes 1 us
    EXPECT_EQ(chosen(large()), "forward 2, data 2, weights 2");
    const unsigned seed = random_();
    const auto layer = make(large());
    const auto got = results_of(large(), layer.get(), Write::overwrite, seed),
               own = results_of(large(), nullptr, Write::overwrite, seed);
    for (std::size_t i = 0; i < own.size(); ++i) EXPECT_LT(largest_difference(got[i], own[i]), 1e-5) << "result " << i;
    // Operands and results in bf16 are converted by launches, and a bias is one more.
    EXPECT_EQ(chosen(large(Type::bf16)), "none");
    EXPECT_EQ(chosen(large(Type::f32, true)), "forward own, data 2, weights own");
}

TEST_F(LinearProduct, OfFewWeightsIsNeverAsked) {
    standin::offer_algorithms({algorithm(1, 1e-9)});
    standin::take_calls();
    LinearForm few = large();
    few.inputs -= 1;
    EXPECT_EQ(make(few), nullptr);
    EXPECT_TRUE(standin::take_calls().empty());
}

TEST_F(LinearProduct, ThatNeedsAlignedParametersIsNotAsked) {
    ProductAlgorithm aligned = algorithm(1, 1e-9);
    aligned.alignment = 16;
    standin::offer_algorithms({aligned});
    EXPECT_EQ(chosen(large()), "none");
    EXPECT_TRUE(standin::algorithm_runs().empty());
}

TEST_F(LinearProduct, ThatIsWrongOrDiffersFromRunToRunIsLeftOutWhichIsSaid) {
    ProductAlgorithm wrong = algorithm(1, 1e-9), varies = algorithm(2, 1e-8);
    wrong.wrong_from = 0, varies.varies = true;
    standin::offer_algorithms({wrong, varies, algorithm(3, 1e-7)});
    testing::internal::CaptureStderr();
    EXPECT_EQ(chosen(large()), "forward 3, data 3, weights 3");
    const std::string said = testing::internal::GetCapturedStderr();
    std::size_t lines = 0;
    for (const char* pass : {"forward", "data gradient", "weight gradient"})
        for (std::size_t at = 0;
             (at = said.find(std::string(" is wrong for linear ") + pass, at)) != std::string::npos;)
            ++lines, ++at;
    EXPECT_EQ(lines, 6u) << said;
}

TEST_F(LinearProduct, ThatDoesNotRunOrNotInARecordingIsLeftOut) {
    ProductAlgorithm run = algorithm(1, 1e-9), capture = algorithm(2, 1e-9);
    run.refused_at_run = capture.refused_in_capture = true;
    standin::offer_algorithms({run, capture});
    EXPECT_EQ(chosen(large()), "none");
}

TEST_F(LinearProduct, IsKnownAtTheNextStart) {
    std::filesystem::create_directories(folder_);
    standin::offer_algorithms({algorithm(4, 1e-7)});
    LinearForm predicts = large(Type::f32, true);
    predicts.backward_data = predicts.backward_weights = false;
    EXPECT_EQ(chosen(large()), "forward 4, data 4, weights 4");
    EXPECT_EQ(chosen(predicts), "none");
    standin::offer_algorithms({algorithm(5, 1e-9), algorithm(4, 1e-7)});
    EXPECT_EQ(chosen(large()), "forward 4, data 4, weights 4");
    EXPECT_EQ(chosen(predicts), "none");
    EXPECT_TRUE(standin::algorithm_runs().empty()) << "nothing is measured again";
    std::filesystem::rename(folder_ / "plans.txt", folder_ / "another run's.txt");
    EXPECT_EQ(chosen(large()), "forward 4, data 4, weights 4") << "as the user's file has it";
    EXPECT_EQ(chosen(predicts), "none");
    std::ifstream in(folder_ / "plans.txt");
    const std::string lines{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NE(lines.find("Stand-in, linear forward 3x1024 to 512, f32\t0 cublaslt130100:4,"), std::string::npos)
        << lines;
    EXPECT_NE(lines.find("Stand-in, linear forward 3x1024 to 512, f32, bias\t0 own\n"), std::string::npos) << lines;
}

TEST_F(LinearProduct, IsNotTriedWhereThereIsNoMemory) {
    standin::offer_algorithms({algorithm(4, 1e-9)});
    standin::insert_card({.memory = 2 << 20});
    EXPECT_EQ(chosen(large()), "none");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "iwseg")) << "another start may have it";
}

// ----------------------------------------------------------------------------------------------------------------------

/// Of every layer, whatever its size, all passes.
std::unique_ptr<LinearLayer> make_products(Stream, const LinearForm& form) {
    cuda::LinearProducts::Products products;
    for (const LinearPass pass : cuda::kLinearPasses)
        products[static_cast<std::size_t>(pass)] = cuda::matrix_products(cuda::product_of(form, pass)).at(0);
    return std::make_unique<cuda::LinearProducts>(form, std::move(products));
}

/// A loss of which the gradient is what it is of.
class HalfOfSquares final : public Operation {
  public:
    std::string name() const override { return "half of squares"; }
    std::vector<Shape> outputs(const std::vector<Shape>&) const override { return {Shape{}}; }
    FormRule form_rule() const override { return FormRule::own; }
    Form output_form(int, const Form&, const Form&) const override { return {Type::f64, Layout::ncdhw}; }
    void forward(const Lowering& lowering) const override {
        const Buffer loss = lowering.output();
        lowering.add({"loss", "loss", {lowering.input(0)}, {loss}, [=](const Plan& plan) {
                          plan.device().set_zero(plan.stream(), plan[loss].data, sizeof(double));
                      }});
    }
    void backward(const Lowering& lowering) const override {
        const Buffer x = lowering.value(0);
        const auto [to, write] = lowering.input_gradient(0);
        ASSERT_EQ(write, Write::overwrite);
        lowering.add({"loss gradient", "loss", {x}, {to}, [x, to = to](const Plan& plan) {
                          plan.device().copy(plan.stream(), plan[x], plan[to]);
                      }});
    }
};

/// Gradients of three layers, of which two read the third's result.
std::vector<float> gradients_of(const Backend& device, bool bf16) {
    Graph graph;
    const Tensor x = graph.input("x", {3, 6, 1, 1, 1}), first = linear(x, {.features = 9});
    std::vector<Tensor> losses;
    for (const int features : {5, 4})
        losses.push_back(graph.add_one(std::make_shared<HalfOfSquares>(), {linear(first, {.features = features})}));
    Context context(device, {.threads = 1});
    Parameters parameters;
    const Compiled made = compile(graph, context, parameters, {.training = true, .bf16 = bf16, .minimise = losses});
    parameters.place(device, context.stream(), true);
    initialise(context, parameters, 1);
    Plan plan(context, made.program);
    std::vector<float> values(18);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) / 4 - 1;
    const DeviceMemory input(device, 18 * 4);
    device.copy_to_device(context.stream(), values.data(), input.data(), input.bytes());
    plan.bind(made[x], input.data());
    plan.run();
    parameters.download();
    return parameters.gradients();
}

TEST_F(LinearProduct, OfAGraphHasTheGradientsOfOurOwn) {
    Backend by_products = cuda::backend();
    by_products.make_linear = &make_products;
    for (const bool bf16 : {false, true}) {
        const std::vector<float> expected = gradients_of(cuda::backend(), bf16);
        EXPECT_TRUE(standin::algorithm_runs().empty());
        EXPECT_LT(largest_difference(gradients_of(by_products, bf16), expected), bf16 ? 1e-2 : 1e-5);
        EXPECT_EQ(standin::algorithm_runs().at(7), 3 + 3 + 2) << "forward, weight gradients, data gradients";
        standin::offer_algorithms(standin::usual_algorithms());
    }
}

}  // namespace
}  // namespace iwseg
