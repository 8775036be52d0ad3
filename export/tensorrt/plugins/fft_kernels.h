// The kernels around cuFFT: they join the two parts of a spectrum for it, and part what it returns.
#pragma once
#include "fft_elements.h"
#include <cuda_runtime_api.h>

namespace fdikp_edge {

// `count` elements of whole half spectra [..., height, width / 2 + 1]; see `joined`.
cudaError_t launchJoin(float const* re, float const* im, Complex* spectrum, std::int64_t count, int height, int width,
    float scale, cudaStream_t stream);

// `count` elements of any layout; see `part`.
cudaError_t launchPart(
    Complex const* spectrum, float* re, float* im, std::int64_t count, float scale, cudaStream_t stream);

} // namespace fdikp_edge
