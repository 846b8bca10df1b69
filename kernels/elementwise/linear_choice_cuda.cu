#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "kernels/convolution/noise.h"
#include "kernels/convolution/plan_choice.h"
#include "kernels/convolution/plan_file.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/trial.h"
#include "kernels/device/bf16.h"
#include "kernels/device/memory.h"
#include "kernels/elementwise/linear.h"
#include "kernels/elementwise/linear_products.h"

// Who computes the passes of a linear layer: our own kernels or, of many weights, one of cuBLASLt's algorithms where it
// is measured to be faster, gives the same elements on noise and the same bytes twice. Choices are kept as those of
// convolutions are (kernels/convolution/cudnn/session.h), "0 own" or "0 ALGORITHM".
namespace iwseg::cuda {
namespace {

/// Weights that are not worth measuring: to read them takes less than a launch.
constexpr std::int64_t kSmall = 1 << 19;
constexpr const char* kOwn = "own";
/// Of the largest element: sums of some thousands in another order, and rounding to bf16 (2^-9).
float allowed(Type type) {
    return type == Type::bf16 ? 1e-2f : 1e-3f;
}

enum Noise : std::uint32_t { kNoiseX, kNoiseWeights, kNoiseY, kNoiseBias };

std::string card_name() {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the GPU");
    cudaDeviceProp card{};
    check(cudaGetDeviceProperties(&card, device), "reading the GPU's properties");
    return card.name;
}

/// One pass by one product, or by our own kernel where there is none.
LinearProducts layer_of(const LinearForm& form, LinearPass pass, const std::optional<MatrixProduct>& product) {
    LinearProducts::Products products;
    products[static_cast<std::size_t>(pass)] = product;
    return {form, std::move(products)};
}

/// Runs a pass by any of its candidates on noise. Throws InputError where the memory is not there.
class LinearTrial {
  public:
    LinearTrial(const LinearForm& form, LinearPass pass, std::int64_t scratch_bytes)
        : form_(form),
          pass_(pass),
          x_(form.samples * form.inputs * bytes_of(form.type)),
          y_(form.samples * form.outputs * bytes_of(form.type)),
          weights_(form.weight_count() * bytes_of(Type::f32)),
          bias_(form.outputs * bytes_of(Type::f32)),
          scratch_(scratch_bytes),
          sum_(sizeof(std::uint64_t)) {}

    std::optional<double> seconds(const LinearProducts& layer) {
        return timer_.seconds([&] { run(layer); });
    }

    /// Empty where a layer gives the same as our own kernels, and the same bytes twice.
    std::string wrong(const LinearProducts& own, const LinearProducts& layer) {
        const std::vector<float> expected = results(own), got = results(layer);
        const std::uint64_t first = checksum();
        float largest = 1e-30f;
        for (const float one : expected) largest = std::max(largest, std::abs(one));
        for (std::size_t i = 0; i < got.size(); ++i)
            if (!(std::abs(got[i] - expected[i]) <= allowed(form_.type) * largest))
                return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + " and should be " +
                       std::to_string(expected[i]);
        results(layer);
        return first == checksum() ? "" : "two runs differ";
    }

  private:
    View vectors(const TrialMemory& memory, std::int64_t features) const {
        return {memory.data(), {form_.samples, features, 1, 1, 1}, form_.type, Layout::ndhwc};
    }
    View x() const { return vectors(x_, form_.inputs); }
    View y() const { return vectors(y_, form_.outputs); }
    float* weights() const { return static_cast<float*>(weights_.data()); }
    float* bias() const { return form_.bias ? static_cast<float*>(bias_.data()) : nullptr; }
    View result() const {
        if (pass_ != LinearPass::weights) return pass_ == LinearPass::forward ? y() : x();
        return {weights_.data(), {form_.outputs, form_.inputs, 1, 1, 1}, Type::f32, Layout::ndhwc};
    }

    void fill() {
        const Stream stream = stream_.get();
        fill_with_noise(stream, kNoiseX, form_.type, x().shape.elements(), x_.data());
        fill_with_noise(stream, kNoiseY, form_.type, y().shape.elements(), y_.data());
        fill_with_noise(stream, kNoiseWeights, Type::f32, form_.weight_count(), weights_.data());
        fill_with_noise(stream, kNoiseBias, Type::f32, form_.outputs, bias_.data());
    }

    void run(const LinearProducts& layer) {
        const Stream stream = stream_.get();
        void* const scratch = scratch_.data();
        switch (pass_) {
            case LinearPass::forward:
                return layer.forward(stream, x(), weights(), bias(), y(), scratch);
            case LinearPass::data:
                return layer.backward_data(stream, y(), weights(), x(), Write::overwrite, scratch);
            case LinearPass::weights:
                return layer.backward_weights(stream, x(), y(), weights(), bias(), scratch);
        }
    }

    std::uint64_t checksum() {
        const View of = result();
        return trial_checksum(stream_.get(), of.data, of.shape.elements() * bytes_of(of.type), sum_.data());
    }

    std::vector<float> results(const LinearProducts& layer) {
        fill();
        run(layer);
        const View of = result();
        const auto count = static_cast<std::size_t>(of.shape.elements());
        std::vector<float> values(count);
        std::vector<Bf16> halves(of.type == Type::bf16 ? count : 0);
        void* const to = of.type == Type::bf16 ? static_cast<void*>(halves.data()) : values.data();
        copy_to_host(stream_.get(), of.data, to, of.shape.elements() * bytes_of(of.type));
        synchronise(stream_.get());
        for (std::size_t i = 0; i < halves.size(); ++i) values[i] = to_f32(halves[i]);
        return values;
    }

    LinearForm form_;
    LinearPass pass_;
    TrialStream stream_;
    TrialTimer timer_{stream_.get()};
    TrialMemory x_, y_, weights_, bias_, scratch_, sum_;
};

/// The fastest right one; nothing where that is our own kernel, or there is no memory to try in.
std::optional<MatrixProduct> measured(const LinearForm& form, LinearPass pass) {
    std::vector<LinearProducts> layers{layer_of(form, pass, std::nullopt)};
    std::vector<MatrixProduct> products = matrix_products(product_of(form, pass));
    std::int64_t scratch = 0;
    for (const MatrixProduct& one : products) {
        layers.push_back(layer_of(form, pass, one));
        scratch = std::max(scratch, layers.back().scratch_bytes());
    }
    if (products.empty()) return std::nullopt;
    LinearTrial trial(form, pass, std::max<std::int64_t>(scratch, 1));
    const auto best = fastest_right(
        layers.size(), [&](std::size_t i) { return trial.seconds(layers[i]); },
        [&](std::size_t i) { return i ? trial.wrong(layers[0], layers[i]) : std::string(); },
        [&](std::size_t i, const std::string& what) {
            std::fprintf(stderr, "iwseg: cuBLASLt's engine %s is wrong for %s (%s); it is not used\n",
                         products[i - 1].text().c_str(), name_of(form, pass).c_str(), what.c_str());
        });
    if (!best || *best == 0) return std::nullopt;
    return std::move(products[*best - 1]);
}

/// From a file: true where it knows the pass, and then `product` is what it has for it.
bool restore(const PlanFile& file, const std::string& key, const MatrixProductForm& form,
             std::optional<MatrixProduct>& product) {
    const auto line = file.find(key);
    if (!line || !line->starts_with("0 ")) return false;
    const std::string text = line->substr(2);
    product = matrix_product(form, text);
    return product || text == kOwn;
}

void complain(const PlanFile& file) {
    static bool complained = false;
    if (std::exchange(complained, true)) return;
    const std::string place = file.path().empty() ? "a file, as HOME is not set" : file.path();
    std::fprintf(stderr,
                 "iwseg: the choice cannot be kept in %s: large linear layers are measured again at each start, and "
                 "results may differ in their last digits between starts\n",
                 place.c_str());
}

std::optional<MatrixProduct> choose(const LinearForm& form, LinearPass pass, const std::string& card) {
    static std::map<std::string, std::string> chosen;  // by key, for where they cannot be kept in a file
    const std::string key = card + ", " + name_of(form, pass);
    const MatrixProductForm product_form = product_of(form, pass);
    const PlanFile run(form.plan_file), user;
    std::optional<MatrixProduct> product;
    if (restore(run, key, product_form, product)) return product;
    const auto text = [&] { return product ? product->text() : std::string(kOwn); };
    if (const auto found = chosen.find(key); found != chosen.end()) {
        product = matrix_product(product_form, found->second);
    } else if (!restore(user, key, product_form, product)) {
        try {
            product = measured(form, pass);
            chosen[key] = text();
            if (!user.store(key, "0 " + text())) complain(user);
        } catch (
            const InputError&) {  // no memory: another start may have it, but not that of a run, which stays as it is
        }
    }
    run.store(key, "0 " + text());
    return product;
}

}  // namespace

std::unique_ptr<LinearLayer> make_linear(Stream, const LinearForm& form) {
    if (form.weight_count() < kSmall) return nullptr;
    const std::string card = card_name();
    LinearProducts::Products products;
    for (const LinearPass pass : kLinearPasses)
        if (pass == LinearPass::forward || (pass == LinearPass::data ? form.backward_data : form.backward_weights))
            products[static_cast<std::size_t>(pass)] = choose(form, pass, card);
    if (std::none_of(products.begin(), products.end(), [](const auto& one) { return one.has_value(); })) return nullptr;
    return std::make_unique<LinearProducts>(form, std::move(products));
}

}  // namespace iwseg::cuda
