#include "apps/bench/kernel_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/bytes.h"
#include "engine/device_memory.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

using Kind = KernelOperand::Kind;

/// The operand as a tensor without memory.
View layout_of(const KernelOperand& operand, Layout layout, Type type) {
    switch (operand.kind) {
        case Kind::activation:
            return {nullptr, operand.shape, type, layout};
        case Kind::logit:
            return {nullptr, operand.shape, type};
        case Kind::i32:
            return {nullptr, operand.shape, Type::i32};
        case Kind::u8:
            return {nullptr, operand.shape, Type::u8};
        case Kind::f32:
        case Kind::f64:
            break;
    }
    return {nullptr, operand.shape, Type::f32};
}

std::int64_t operand_bytes(const KernelOperand& operand, const View& view) {
    return operand.kind == Kind::f64 ? operand.shape.elements() * 8 : bytes_of(view.shape, view.type, view.layout);
}

template <class T>
void fill(std::vector<char>& bytes, const std::vector<double>& values) {
    auto* to = reinterpret_cast<T*>(bytes.data());
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = static_cast<T>(values[i]);
}

template <class T>
std::vector<double> as_doubles(const std::vector<char>& bytes, std::int64_t count) {
    const auto* from = reinterpret_cast<const T*>(bytes.data());
    return {from, from + count};
}

}  // namespace

/// A case on one backend.
struct KernelRun::Placed {
    Placed(Context& c, const KernelCase& what, Layout layout, Type type, std::optional<int> variant = {})
        : context(c), operands(what.operands) {
        for (const KernelOperand& operand : operands) {
            View view = layout_of(operand, layout, type);
            sizes.push_back(operand_bytes(operand, view));
            memory.push_back(std::make_unique<DeviceMemory>(context.backend(), aligned(sizes.back())));
            view.data = memory.back()->data();
            views.push_back(view);
        }
        prepared = what.prepare(context.backend(), context.stream(), layout, type, variant);
        const std::int64_t bytes = std::max<std::int64_t>(prepared.scratch_bytes, 1);
        scratch = std::make_unique<DeviceMemory>(context.backend(), bytes);
    }

    /// The host's bytes of an operand before the call: its values in its type and layout.
    std::vector<char> encoded(std::size_t i) {
        const KernelOperand& operand = operands[i];
        std::vector<char> bytes(static_cast<std::size_t>(sizes[i]));
        if (operand.values.empty()) return bytes;
        switch (operand.kind) {
            case Kind::u8:
                fill<std::uint8_t>(bytes, operand.values);
                return bytes;
            case Kind::i32:
                fill<std::int32_t>(bytes, operand.values);
                return bytes;
            case Kind::f32:
                fill<float>(bytes, operand.values);
                return bytes;
            case Kind::f64:
                fill<double>(bytes, operand.values);
                return bytes;
            case Kind::activation:
            case Kind::logit:
                break;
        }
        std::vector<float> values(operand.values.begin(), operand.values.end());
        View to = views[i];
        to.data = bytes.data();
        cpu::reorder(context.host(), {values.data(), operand.shape}, to);
        return bytes;
    }

    void reset() {
        for (std::size_t i = 0; i < operands.size(); ++i) {
            const std::vector<char> bytes = encoded(i);
            context.backend().copy_to_device(context.stream(), bytes.data(), memory[i]->data(), sizes[i]);
            context.backend().synchronise(context.stream());  // the copy may read the host's memory until then
        }
        if (prepared.before) prepared.before(views);
    }

    void launch() const { prepared.call(views, scratch->data()); }
    /// Behind the last launch, before results are read.
    void finish() const {
        if (prepared.after) prepared.after(views);
    }

    std::vector<double> decoded(std::size_t i) {
        std::vector<char> bytes(static_cast<std::size_t>(sizes[i]));
        context.backend().copy_to_host(context.stream(), memory[i]->data(), bytes.data(), sizes[i]);
        context.backend().synchronise(context.stream());
        const std::int64_t count = operands[i].shape.elements();
        switch (operands[i].kind) {
            case Kind::u8:
                return as_doubles<std::uint8_t>(bytes, count);
            case Kind::i32:
                return as_doubles<std::int32_t>(bytes, count);
            case Kind::f32:
                return as_doubles<float>(bytes, count);
            case Kind::f64:
                return as_doubles<double>(bytes, count);
            case Kind::activation:
            case Kind::logit:
                break;
        }
        std::vector<float> plain(static_cast<std::size_t>(count));
        View from = views[i];
        from.data = bytes.data();
        cpu::reorder(context.host(), from, {plain.data(), operands[i].shape});
        return {plain.begin(), plain.end()};
    }

    Context& context;
    const std::vector<KernelOperand>& operands;
    std::vector<std::unique_ptr<DeviceMemory>> memory;
    std::vector<View> views;
    std::vector<std::int64_t> sizes;  ///< bytes
    std::unique_ptr<DeviceMemory> scratch;
    KernelCase::Prepared prepared;
};

namespace {

double difference(const std::vector<double>& got, const std::vector<double>& expected) {
    double largest = 0, apart = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        if (std::isnan(got[i]) && std::isnan(expected[i])) continue;
        if (!std::isfinite(got[i]) || !std::isfinite(expected[i])) {
            if (got[i] != expected[i]) return std::numeric_limits<double>::infinity();
            continue;
        }
        largest = std::max(largest, std::abs(expected[i]));
        apart = std::max(apart, std::abs(got[i] - expected[i]));
    }
    return largest > 0 ? apart / largest : apart;
}

}  // namespace

struct KernelRun::State {
    State(Context& context, const KernelCaseOptions& o)
        : options(o),
          what(make_kernel_case(o)),
          placed(context, what, kernel_layout(context.backend(), o), o.type, o.variant) {
        placed.reset();
    }

    KernelCaseOptions options;
    KernelCase what;
    Placed placed;
};

KernelRun::KernelRun(Context& context, const KernelCaseOptions& options)
    : state_(std::make_unique<State>(context, options)) {}

KernelRun::~KernelRun() = default;

void KernelRun::reset() {
    state_->placed.reset();
}
void KernelRun::launch() {
    state_->placed.launch();
}
double KernelRun::operations() const {
    return state_->what.operations;
}

const std::string& KernelRun::engine() const {
    return state_->placed.prepared.engine;
}

double KernelRun::bytes() const {
    double bytes = 0;
    for (const std::int64_t size : state_->placed.sizes) bytes += static_cast<double>(size);
    return bytes;
}

std::vector<KernelDifference> KernelRun::check() {
    State& s = *state_;
    s.placed.reset();
    KernelCase plain = s.what;
    for (std::size_t i = 0; i < plain.operands.size(); ++i)
        plain.operands[i].values = s.placed.decoded(i);  // as rounded
    s.placed.launch();
    s.placed.finish();
    Context host({.device = "cpu", .threads = s.placed.context.threads()});
    Placed expected(host, plain, Layout::ncdhw, Type::f32);
    expected.reset();
    expected.launch();
    expected.finish();
    const double allowed = s.options.type == Type::bf16 ? s.what.allowed_bf16 : s.what.allowed_f32;
    std::vector<KernelDifference> differences;
    for (std::size_t i = 0; i < plain.operands.size(); ++i)
        if (plain.operands[i].written)
            differences.push_back(
                {plain.operands[i].name, difference(s.placed.decoded(i), expected.decoded(i)), allowed});
    return differences;
}

}  // namespace iwseg
