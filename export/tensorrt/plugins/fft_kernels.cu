#include "fft_kernels.h"

namespace fdikp_edge {
namespace {

constexpr int kTHREADS = 256;
constexpr int kMAX_BLOCKS = 65535;

int blocksFor(std::int64_t count) {
    std::int64_t const blocks = (count + kTHREADS - 1) / kTHREADS;
    return static_cast<int>(blocks < kMAX_BLOCKS ? blocks : kMAX_BLOCKS);
}

__global__ void joinKernel(float const* re, float const* im, Complex* spectrum, std::int64_t count, int height,
    int width, float scale) {
    std::int64_t const step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        spectrum[i] = joined(re, im, i, height, width, scale);
    }
}

__global__ void partKernel(Complex const* spectrum, float* re, float* im, std::int64_t count, float scale) {
    std::int64_t const step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        part(spectrum, i, scale, re, im);
    }
}

} // namespace

cudaError_t launchJoin(float const* re, float const* im, Complex* spectrum, std::int64_t count, int height, int width,
    float scale, cudaStream_t stream) {
    joinKernel<<<blocksFor(count), kTHREADS, 0, stream>>>(re, im, spectrum, count, height, width, scale);
    return cudaGetLastError();
}

cudaError_t launchPart(
    Complex const* spectrum, float* re, float* im, std::int64_t count, float scale, cudaStream_t stream) {
    partKernel<<<blocksFor(count), kTHREADS, 0, stream>>>(spectrum, re, im, count, scale);
    return cudaGetLastError();
}

} // namespace fdikp_edge
