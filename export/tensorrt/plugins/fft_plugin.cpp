// `fdikp_edge::rfft2` and `fdikp_edge::irfft2` for TensorRT 10 and 11: cuFFT between two small kernels.
//
// Inputs and outputs are those of the ONNX operators (export/spectral/strategies/custom.py): the data first, then
// four matrices, which are for runtimes without this plugin and are not read here. All float32, linear.
//
// Needs NvInfer.h (TensorRT's headers) and cufft.h; see CMakeLists.txt. Written against the documented
// IPluginV3 interface; not yet compiled against TensorRT's own headers, nor run.
#include "fft_kernels.h"
#include <NvInfer.h>
#include <cstring>
#include <cufft.h>
#include <memory>
#include <string>

namespace fdikp_edge {
using namespace nvinfer1;

namespace {

constexpr char const* kNAMESPACE = "fdikp_edge";
constexpr char const* kVERSION = "1";
constexpr int32_t kMATRICES = 4;

int32_t batchOf(Dims const& dims) {
    int64_t batch = 1;
    for (int32_t i = 0; i + 2 < dims.nbDims; ++i) {
        batch *= dims.d[i];
    }
    return static_cast<int32_t>(batch);
}

int64_t countOf(Dims const& dims) {
    int64_t count = 1;
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        count *= dims.d[i];
    }
    return count;
}

} // namespace

class FftPlugin final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
public:
    FftPlugin(bool inverse, float scale) : mInverse(inverse), mScale(scale) {}

    ~FftPlugin() override {
        if (mPlanned) {
            cufftDestroy(mPlan);
        }
    }

    // IPluginV3
    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
        case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
        case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        default: return static_cast<IPluginV3OneCore*>(this);
        }
    }
    IPluginV3* clone() noexcept override {
        return new (std::nothrow) FftPlugin(mInverse, mScale);
    }

    // IPluginV3OneCore
    AsciiChar const* getPluginName() const noexcept override {
        return mInverse ? "irfft2" : "rfft2";
    }
    AsciiChar const* getPluginVersion() const noexcept override {
        return kVERSION;
    }
    AsciiChar const* getPluginNamespace() const noexcept override {
        return kNAMESPACE;
    }

    // IPluginV3OneBuild
    int32_t getNbOutputs() const noexcept override {
        return mInverse ? 1 : 2;
    }
    bool supportsFormatCombination(
        int32_t pos, DynamicPluginTensorDesc const* inOut, int32_t, int32_t) noexcept override {
        return inOut[pos].desc.format == TensorFormat::kLINEAR && inOut[pos].desc.type == DataType::kFLOAT;
    }
    int32_t getOutputDataTypes(
        DataType* outputTypes, int32_t nbOutputs, DataType const*, int32_t) const noexcept override {
        for (int32_t i = 0; i < nbOutputs; ++i) {
            outputTypes[i] = DataType::kFLOAT;
        }
        return 0;
    }
    int32_t getOutputShapes(DimsExprs const* inputs, int32_t nbInputs, DimsExprs const*, int32_t, DimsExprs* outputs,
        int32_t nbOutputs, IExprBuilder&) noexcept override {
        int32_t const data = mInverse ? 2 : 1;
        if (nbInputs != data + kMATRICES || inputs[0].nbDims < 2) {
            return -1;
        }
        // The last size is the second one of `row_cos`, which tells an even width from an odd one.
        for (int32_t i = 0; i < nbOutputs; ++i) {
            outputs[i] = inputs[0];
            outputs[i].d[inputs[0].nbDims - 1] = inputs[data].d[1];
        }
        return 0;
    }
    int32_t configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) noexcept
        override {
        return 0;
    }
    size_t getWorkspaceSize(DynamicPluginTensorDesc const* inputs, int32_t, DynamicPluginTensorDesc const* outputs,
        int32_t) const noexcept override {
        return sizeof(Complex) * countOf(mInverse ? inputs[0].max : outputs[0].max);
    }

    // IPluginV3OneRuntime
    int32_t onShapeChange(
        PluginTensorDesc const* in, int32_t, PluginTensorDesc const* out, int32_t) noexcept override {
        Dims const& signal = mInverse ? out[0].dims : in[0].dims;
        int sizes[2] = {static_cast<int>(signal.d[signal.nbDims - 2]), static_cast<int>(signal.d[signal.nbDims - 1])};
        if (mPlanned) {
            cufftDestroy(mPlan);
        }
        mPlanned = cufftPlanMany(&mPlan, 2, sizes, nullptr, 1, 0, nullptr, 1, 0, mInverse ? CUFFT_C2R : CUFFT_R2C,
                       batchOf(signal))
            == CUFFT_SUCCESS;
        mHeight = sizes[0];
        mWidth = sizes[1];
        return mPlanned ? 0 : -1;
    }
    int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc, void const* const* inputs,
        void* const* outputs, void* workspace, cudaStream_t stream) noexcept override {
        auto* spectrum = static_cast<Complex*>(workspace);
        if (!mPlanned || cufftSetStream(mPlan, stream) != CUFFT_SUCCESS) {
            return -1;
        }
        if (mInverse) {
            int64_t const count = countOf(inputDesc[0].dims);
            auto const* re = static_cast<float const*>(inputs[0]);
            auto const* im = static_cast<float const*>(inputs[1]);
            if (launchJoin(re, im, spectrum, count, mHeight, mWidth, mScale, stream) != cudaSuccess) {
                return -1;
            }
            auto* signal = static_cast<cufftReal*>(outputs[0]);
            return cufftExecC2R(mPlan, reinterpret_cast<cufftComplex*>(spectrum), signal) == CUFFT_SUCCESS ? 0 : -1;
        }
        auto* signal = static_cast<cufftReal*>(const_cast<void*>(inputs[0]));
        if (cufftExecR2C(mPlan, signal, reinterpret_cast<cufftComplex*>(spectrum)) != CUFFT_SUCCESS) {
            return -1;
        }
        int64_t const count = countOf(outputDesc[0].dims);
        auto* re = static_cast<float*>(outputs[0]);
        auto* im = static_cast<float*>(outputs[1]);
        return launchPart(spectrum, re, im, count, mScale, stream) == cudaSuccess ? 0 : -1;
    }
    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override {
        return clone();
    }
    PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        mField = PluginField{"scale", &mScale, PluginFieldType::kFLOAT32, 1};
        mFields = PluginFieldCollection{1, &mField};
        return &mFields;
    }

private:
    bool mInverse;
    float mScale;
    bool mPlanned{false};
    cufftHandle mPlan{};
    int mHeight{0};
    int mWidth{0};
    PluginField mField{};
    PluginFieldCollection mFields{};
};

template <bool kINVERSE>
class FftPluginCreator final : public IPluginCreatorV3One {
public:
    AsciiChar const* getPluginName() const noexcept override {
        return kINVERSE ? "irfft2" : "rfft2";
    }
    AsciiChar const* getPluginVersion() const noexcept override {
        return kVERSION;
    }
    AsciiChar const* getPluginNamespace() const noexcept override {
        return kNAMESPACE;
    }
    PluginFieldCollection const* getFieldNames() noexcept override {
        return &mFields;
    }
    IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const* fields, TensorRTPhase) noexcept override {
        for (int32_t i = 0; i < fields->nbFields; ++i) {
            PluginField const& field = fields->fields[i];
            if (std::strcmp(field.name, "scale") == 0 && field.type == PluginFieldType::kFLOAT32 && field.length == 1) {
                return new (std::nothrow) FftPlugin(kINVERSE, *static_cast<float const*>(field.data));
            }
        }
        return nullptr; // the scale has no default: a wrong one is a wrong picture
    }

private:
    PluginField mField{"scale", nullptr, PluginFieldType::kFLOAT32, 1};
    PluginFieldCollection mFields{1, &mField};
};

} // namespace fdikp_edge

// What `IPluginRegistry::loadLibrary` and `trtexec --dynamicPlugins` look for.
extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& nbCreators) {
    static fdikp_edge::FftPluginCreator<false> forward;
    static fdikp_edge::FftPluginCreator<true> inverse;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&forward, &inverse};
    nbCreators = 2;
    return creators;
}

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
