#pragma once

namespace iwseg {

/// From here on what is written to stdout and stderr is dropped where nobody reads it any more (a pipe whose reader has
/// ended, a terminal that was closed) instead of ending the program, and an output that was closed from the start is
/// /dev/null. Other failures, as of a full disk, stay failures. Called once, before anything is printed.
void outlive_closed_output();

}  // namespace iwseg
