#include "kernels/convolution/onednn/onednn_threads.h"

#include <dlfcn.h>

#include <algorithm>
#include <barrier>
#include <dnnl.hpp>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "kernels/convolution/onednn/imported_symbols.h"

namespace iwseg::cpu {
namespace {

/// One thread's place in a parallel region of oneDNN's.
struct Member {
    int number = 0, count = 1;
    std::barrier<>* barrier = nullptr;  ///< where they run together
    OneDnnThreads* of = nullptr;        ///< whose region it is, where it has several threads
};

thread_local OneDnnThreads* scope = nullptr;
thread_local const Member* member = nullptr;

using Region = void (*)(void*);

/// Sets a thread's own variable for as long as it lives, whatever is thrown meanwhile.
template <class T>
class Held {
  public:
    Held(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
    ~Held() { variable_ = before_; }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

  private:
    T& variable_;
    T before_;
};

/// Whether it belongs to the program or library that this file is linked into.
bool is_ours(const void* function) {
    static const char anchor = 0;
    Dl_info theirs{}, ours{};
    return ::dladdr(function, &theirs) != 0 && ::dladdr(&anchor, &ours) != 0 && theirs.dli_fbase == ours.dli_fbase;
}

/// After us in the order that symbols are looked up in; before us where ours are not what is found first.
template <class Function>
Function* find(const char* name, Function* missing) {
    for (void* const where : {RTLD_NEXT, RTLD_DEFAULT})
        if (void* const found = ::dlsym(where, name); found && !is_ours(found))
            return reinterpret_cast<Function*>(found);
    return missing;
}

/// The OpenMP runtime itself; where there is none, what one thread would do.
struct Runtime {
    void (*parallel)(Region, void*, unsigned, unsigned) = find<void(Region, void*, unsigned, unsigned)>(
        "GOMP_parallel", [](Region region, void* data, unsigned, unsigned) { region(data); });
    void (*barrier)() = find<void()>("GOMP_barrier", [] {});
    int (*max_threads)() = find<int()>("omp_get_max_threads", [] { return 1; });
    int (*threads)() = find<int()>("omp_get_num_threads", [] { return 1; });
    int (*thread)() = find<int()>("omp_get_thread_num", [] { return 0; });
    int (*in_parallel)() = find<int()>("omp_in_parallel", [] { return 0; });
    void (*set_threads)(int) = find<void(int)>("omp_set_num_threads", [](int) {});
};

/// The runtime's threads wait for the next region in its code: also where a plugin that brought it along is unloaded.
void keep_loaded(const void* function) {
    Dl_info info{};
    if (is_ours(function) || ::dladdr(function, &info) == 0 || !info.dli_fname) return;
    ::dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

const Runtime& runtime() {
    static const Runtime found = [] {
        const Runtime of_process;
        keep_loaded(reinterpret_cast<const void*>(of_process.parallel));
        return of_process;
    }();
    return found;
}

void run_member(const Member& as, Region region, void* data) {
    const Held<const Member*> held(member, &as);
    region(data);
}

/// A region of oneDNN's, of `count` threads, on ours.
void run_region(OneDnnThreads& of, Region region, void* data, int count) {
    if (count == 1) return run_member({}, region, data);
    if (of.work() == OneDnnWork::together) {
        std::barrier barrier(count);
        const auto body = [&](std::int64_t number) {
            run_member({static_cast<int>(number), count, &barrier, &of}, region, data);
        };
        if (of.pool() && of.pool()->run_together(count, body)) return;
        // The pool is at work or too small. Threads that wait for each other must all be there: the runtime has them.
        const Held<OneDnnThreads*> held(scope, nullptr);
        return runtime().parallel(region, data, static_cast<unsigned>(count), 0);
    }
    const auto body = [&](std::int64_t number) {
        run_member({static_cast<int>(number), count, nullptr, &of}, region, data);
    };
    if (of.pool()) return of.pool()->run(count, body);
    for (int number = 0; number < count; ++number) body(number);
}

}  // namespace

OneDnnThreads::OneDnnThreads(ThreadPool* threads, OneDnnWork work) : pool_(threads), work_(work), outer_(scope) {
    if (in_effect()) {
        scope = this;
        return;
    }
    // No scope: all six functions hand on.
    runtimes_ = runtime().max_threads();
    runtime().set_threads(this->threads());
}

OneDnnThreads::~OneDnnThreads() {
    scope = outer_;
    if (runtimes_ > 0) runtime().set_threads(runtimes_);
}

void OneDnnThreads::require_independent() const {
    if (waited_.load(std::memory_order_relaxed))
        throw std::logic_error(
            "oneDNN: threads of a primitive waited for each other that was taken for one whose threads do not, so its "
            "result is wrong");
}

bool OneDnnThreads::in_effect() {
    static const bool ours = [] {
        void* const found = ::dlsym(RTLD_DEFAULT, "GOMP_parallel");
        const void* const onednn = reinterpret_cast<const void*>(&::dnnl_primitive_execute);
        return found && is_ours(found) && dnnl::version()->cpu_runtime == DNNL_RUNTIME_OMP &&
               forks_by_gomp_parallel(imported_symbols(onednn));
    }();
    return ours;
}

bool forks_by_gomp_parallel(const std::vector<std::string>& imported) {
    constexpr std::string_view served[] = {"GOMP_parallel",       "GOMP_barrier",       "omp_get_max_threads",
                                           "omp_get_num_threads", "omp_get_thread_num", "omp_in_parallel"};
    const auto is_served = [&](std::string_view name) {
        return std::find(std::begin(served), std::end(served), name) != std::end(served);
    };
    // Another way to begin a region, or to share out work within one, would ask the runtime for a team that it has not.
    const auto is_unknown = [&](std::string_view name) {
        return (name.starts_with("GOMP_") || name.starts_with("omp_") || name.starts_with("__kmpc_")) &&
               !is_served(name);
    };
    return std::find(imported.begin(), imported.end(), served[0]) != imported.end() &&
           std::none_of(imported.begin(), imported.end(), is_unknown);
}

}  // namespace iwseg::cpu

// Weak, so that a program that links an OpenMP runtime statically keeps that one's.
#define IWSEG_FOR_ONEDNN extern "C" __attribute__((weak, visibility("default")))

using namespace iwseg::cpu;  // NOLINT: C functions have no namespace

IWSEG_FOR_ONEDNN void GOMP_parallel(void (*region)(void*), void* data, unsigned count, unsigned flags);
IWSEG_FOR_ONEDNN void GOMP_barrier();
IWSEG_FOR_ONEDNN int omp_get_max_threads();
IWSEG_FOR_ONEDNN int omp_get_num_threads();
IWSEG_FOR_ONEDNN int omp_get_thread_num();
IWSEG_FOR_ONEDNN int omp_in_parallel();

void GOMP_parallel(void (*region)(void*), void* data, unsigned count, unsigned flags) {
    if (member) return run_member({}, region, data);  // nested: this thread alone
    if (!scope) return runtime().parallel(region, data, count, flags);
    run_region(*scope, region, data, count > 0 ? static_cast<int>(count) : scope->threads());
}

void GOMP_barrier() {
    if (!member && !scope) return runtime().barrier();
    if (!member || member->count == 1) return;
    if (member->barrier) return member->barrier->arrive_and_wait();
    member->of->note_barrier();  // an exception would end the program in oneDNN's region
}

int omp_get_max_threads() {
    return member ? member->count : scope ? scope->threads() : runtime().max_threads();
}

int omp_get_num_threads() {
    return member ? member->count : scope ? 1 : runtime().threads();
}

int omp_get_thread_num() {
    return member ? member->number : scope ? 0 : runtime().thread();
}

int omp_in_parallel() {
    return member ? 1 : scope ? 0 : runtime().in_parallel();
}
