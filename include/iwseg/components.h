#pragma once

// Connected components, detections and inverse weights alone, for programs that link iwseg::components
// (docs/components.md).
#include "kernels/components/components_of.h"
#include "kernels/components/detection.h"
#include "kernels/components/ignored.h"
#include "kernels/components/inverse_weights_of.h"
#include "kernels/cpu/thread_pool.h"
