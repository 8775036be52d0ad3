// What one thread of each kernel computes, in a form that a host compiler takes too, so that it can be tested
// without a GPU. Layout: images of `height` rows; a half spectrum has `half` = width / 2 + 1 columns.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define FDIKP_EDGE_EITHER __host__ __device__ inline
#else
#define FDIKP_EDGE_EITHER inline
#endif

namespace fdikp_edge {

struct Complex {
    float re, im;
};

// Element `index` of the spectrum to hand to a complex-to-real transform over both axes, times `scale`.
//
// A filter may leave a half spectrum that no real signal has. torch, numpy and the definition of the operator
// then drop, after the transform along the columns, the imaginary part of column 0 and, where the width is
// even, of the last one. cuFFT promises nothing there. The real part of a transform is the transform of the
// Hermitian part, so that is put in its place, and cuFFT is never given anything else.
FDIKP_EDGE_EITHER Complex joined(
    float const* re, float const* im, std::int64_t index, int height, int width, float scale) {
    int const half = width / 2 + 1;
    int const column = static_cast<int>(index % half);
    if (column != 0 && 2 * column != width) {
        return {scale * re[index], scale * im[index]};
    }
    int const row = static_cast<int>(index / half % height);
    std::int64_t const mirror = index + (static_cast<std::int64_t>((height - row) % height) - row) * half;
    float const share = 0.5F * scale;
    return {share * (re[index] + re[mirror]), share * (im[index] - im[mirror])};
}

// Puts element `index` of an interleaved spectrum, times `scale`, into its two parts.
FDIKP_EDGE_EITHER void part(Complex const* spectrum, std::int64_t index, float scale, float* re, float* im) {
    re[index] = scale * spectrum[index].re;
    im[index] = scale * spectrum[index].im;
}

} // namespace fdikp_edge
