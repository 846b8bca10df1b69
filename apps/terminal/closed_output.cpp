#include "apps/terminal/closed_output.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <initializer_list>

namespace iwseg {
namespace {

/// Else the next file that is opened would take the number, and what is printed would go into it.
void open_descriptors() {
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(descriptor, F_GETFD) < 0) {
            const int null = ::open("/dev/null", O_RDWR);
            if (null >= 0 && null != descriptor) {
                ::dup2(null, descriptor);
                ::close(null);
            }
        }
}

#ifdef __GLIBC__
/// 0: a failure that the stream reports.
ssize_t write_or_drop(void* cookie, const char* bytes, std::size_t size) {
    const auto descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(cookie));
    for (std::size_t done = 0; done < size;) {
        const ssize_t written = ::write(descriptor, bytes + done, size - done);
        if (written >= 0)
            done += static_cast<std::size_t>(written);
        else if (errno == EPIPE || errno == EIO)
            return static_cast<ssize_t>(size);
        else if (errno != EINTR)
            return 0;
    }
    return static_cast<ssize_t>(size);
}

FILE* stream_of(int descriptor, int buffering) {
    // The cookie is a number, and never followed. NOLINTNEXTLINE(performance-no-int-to-ptr)
    FILE* stream = ::fopencookie(reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)), "w",
                                 {nullptr, write_or_drop, nullptr, nullptr});
    if (stream) std::setvbuf(stream, nullptr, buffering, BUFSIZ);
    return stream;
}
#endif

}  // namespace

void outlive_closed_output() {
    open_descriptors();
    signal(SIGPIPE, SIG_IGN);
#ifdef __GLIBC__
    // fmt::print throws where a stream fails, so the streams must not.
    if (FILE* stream = stream_of(STDOUT_FILENO, ::isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF)) stdout = stream;
    if (FILE* stream = stream_of(STDERR_FILENO, _IONBF)) stderr = stream;
#endif
}

}  // namespace iwseg
