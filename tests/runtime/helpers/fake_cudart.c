/* A libcudart whose device is this processor: the same functions, with the header's own prototypes where it is
   installed, so that an argument in the wrong place shows. FAKE_CUDART says how it fails. Test use only. */
#include <stdlib.h>
#include <string.h>
#if __has_include(<cuda_runtime_api.h>)
#include <cuda_runtime_api.h>
#else
#include <stddef.h>
#define CUDARTAPI
#define __host__
#define __cudart_builtin__
typedef int cudaError_t;
typedef void *cudaStream_t, *cudaEvent_t, *cudaGraph_t, *cudaGraphExec_t;
enum cudaDeviceAttr { cudaAttr = 0 };
enum cudaMemcpyKind { cudaCopy = 0 };
enum cudaStreamCaptureMode { cudaMode = 0 };
struct cudaDeviceProp { char name[256]; char rest[776]; };
#endif

struct step { void *to; const void *from; size_t bytes; void (*call)(void); };
struct graph { int count; struct step steps[64]; };
struct stream { struct graph *capturing; };

static int live;
int fake_live(void) { return live; }

static int fails(const char *how) {
    const char *set = getenv("FAKE_CUDART");
    return set && !strcmp(set, how);
}
static int broken(void) { return fails("no_driver") || fails("old_driver") ? 35 : fails("no_device") ? 100 : 0; }
static void *take(size_t bytes) { live++; return calloc(1, bytes); }
static cudaError_t drop(void *p) { if (p) { live--; free(p); } return 0; }
static void run(struct step s) { if (s.call) s.call(); else memcpy(s.to, s.from, s.bytes); }
static void queue(struct stream *at, struct step s) {
    if (at->capturing) at->capturing->steps[at->capturing->count++] = s; else run(s);
}
/* What a test lets the device do besides copies. */
void fake_enqueue(void *at, void (*call)(void)) { struct step s = {0, 0, 0, call}; queue(at, s); }

const char *cudaGetErrorString(cudaError_t code) { return code == 35 ? "insufficient driver" : code == 2 ? "out of memory" : "an error"; }
cudaError_t cudaDriverGetVersion(int *v) { *v = fails("no_driver") ? 0 : fails("old_driver") ? 11080 : 13000; return 0; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = 12060; return 0; }
cudaError_t cudaGetDeviceCount(int *n) { *n = 1; return broken(); }
cudaError_t cudaSetDevice(int index) { return index ? 101 : broken(); }
static unsigned flags, host_flags;
static int copies;
int fake_copies(void) { return copies; }
cudaError_t cudaSetDeviceFlags(unsigned f) { flags = f; return 0; }
cudaError_t cudaGetDeviceFlags(unsigned *f) { *f = flags | 8; return 0; }
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device) {
    *value = (int)attr == 18 || (int)attr == 19 ? getenv("FAKE_INTEGRATED") != 0 : (int)attr == 75 ? 8 : (int)attr == 76 ? 7 : -1;
    return 0;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) { strcpy(p->name, "Fake Orin"); return 0; }
cudaError_t cudaMemGetInfo(size_t *free, size_t *total) { *free = 1u << 20; *total = 1u << 21; return 0; }
cudaError_t cudaMalloc(void **p, size_t n) { if (fails("oom")) return 2; *p = take(n); return 0; }
cudaError_t cudaFree(void *p) { return drop(p); }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned how) { *p = take(n); host_flags = how; return 0; }
cudaError_t cudaHostGetDevicePointer(void **d, void *h, unsigned zero) { *d = h; return host_flags == 2 ? zero : 1; }
cudaError_t cudaFreeHost(void *p) { return drop(p); }
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t at) {
    struct step s = {to, from, n, 0};
    copies++;
    queue((struct stream *)at, s);
    return 0;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *p, unsigned flags) { *p = take(sizeof(struct stream)); return flags != 1; }
cudaError_t cudaStreamSynchronize(cudaStream_t at) { return fails("lost") ? 700 : 0; }
cudaError_t cudaStreamDestroy(cudaStream_t at) { return drop(at); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *p, unsigned flags) { *p = take(8); return 0; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t at) { static long clock; *(long *)e = ++clock; return 0; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) { return 0; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) { *ms = *(long *)b - *(long *)a; return 0; }
cudaError_t cudaEventDestroy(cudaEvent_t e) { return drop(e); }
cudaError_t cudaStreamBeginCapture(cudaStream_t at, enum cudaStreamCaptureMode mode) {
    ((struct stream *)at)->capturing = take(sizeof(struct graph));
    return mode != 1;
}
cudaError_t cudaStreamEndCapture(cudaStream_t at, cudaGraph_t *p) {
    *p = (void *)((struct stream *)at)->capturing;
    ((struct stream *)at)->capturing = 0;
    return fails("capture") ? 901 : 0;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *p, cudaGraph_t g, unsigned long long flags) {
    *p = take(sizeof(struct graph));
    memcpy(*p, g, sizeof(struct graph));
    return 0;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t at) {
    struct graph *graph = (struct graph *)g;
    for (int i = 0; i < graph->count; i++) queue((struct stream *)at, graph->steps[i]);
    return 0;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) { return drop(g); }
cudaError_t cudaGraphDestroy(cudaGraph_t g) { return drop(g); }
