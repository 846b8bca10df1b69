#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <string>

#include "apps/commands/commands.h"
#include "apps/commands/help.h"
#include "apps/terminal/closed_output.h"
#include "apps/terminal/interrupt.h"
#include "apps/version.h"
#include "base/error.h"
#include "base/folder.h"
#include "kernels/cpu/short_slices.h"

namespace {

constexpr int kFailed = 1, kBadInput = 2, kInterrupted = 130;

/// One line on stderr, whatever the message holds.
int end_with(int code, std::string message) {
    std::replace(message.begin(), message.end(), '\n', ' ');
    std::fflush(stdout);
    fmt::print(stderr, "iwseg: {}\n", message);
    return code;
}

int run(int argc, char** argv) {
    CLI::App app("iwseg segments lesions in 3D scans, and does not lose the small ones", "iwseg");
    app.set_version_flag("--version", std::string("iwseg ") + iwseg::kVersion, "print the version and end");
    app.set_help_flag("-h,--help", "print this help and end");
    app.formatter(std::make_shared<iwseg::HelpFormatter>());
    app.option_defaults()->always_capture_default();
    app.require_subcommand(1);
    iwseg::add_demo_command(app);
    iwseg::add_phantom_command(app);
    iwseg::add_prepare_command(app);
    iwseg::add_train_command(app);
    iwseg::add_predict_command(app);
    iwseg::add_import_command(app);
    iwseg::add_evaluate_command(app);
    iwseg::add_run_command(app);
    iwseg::add_froc_command(app);
    iwseg::add_label_command(app);
    iwseg::add_bench_command(app);
    iwseg::add_kernel_command(app);
    iwseg::add_info_command(app);
    app.footer(
        "Example:\n  iwseg demo --out demo\n"
        "Each command has its own --help with an example. Exit codes: 0 done, 2 bad usage or bad input, "
        "130 interrupted, 1 anything else.");
    try {
        app.parse(argc, argv);
        if (std::fflush(stdout) != 0)
            return end_with(kFailed, std::string("cannot write to the standard output: ") + std::strerror(errno));
        return 0;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        return end_with(kBadInput, iwseg::usage_error(app, error));
    } catch (const iwseg::InputError& error) {
        return end_with(kBadInput, error.what());
    } catch (const iwseg::Interrupted& error) {
        return end_with(kInterrupted, error.what());
    } catch (const std::filesystem::filesystem_error& error) {
        return end_with(kBadInput, iwseg::sentence_of(error));
    } catch (const std::bad_alloc&) {
        return end_with(kFailed, "out of memory");
    } catch (const std::exception& error) {
        return end_with(kFailed, error.what());
    }
}

}  // namespace

int main(int argc, char** argv) {
    iwseg::outlive_closed_output();
    // Past a limit on file sizes a write then fails with a reason, as on a full disk, instead of killing.
    signal(SIGXFSZ, SIG_IGN);
    iwseg::ask_for_short_slices();
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {  // before a command was read, or in saying what failed
        std::fprintf(stderr, "iwseg: %s\n", error.what());
        return kFailed;
    }
}
