#pragma once

/// A function marked so is compiled for AVX-512, AVX2 and plain x86-64, and the processor's best is picked when the
/// program starts: one lean binary for all. Put it on the serial function that a parallel loop calls, not on the
/// function that holds the loop: lambdas in it are not cloned. Off under sanitizers, whose runtime is
/// not up when the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(IWSEG_SANITIZED)
#define IWSEG_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define IWSEG_VECTOR_CLONES
#endif
