// Runs the network on ONNX Runtime Web, away from the page, so that the page never stands still.

import { fillTensor, isGreyPhoto, photoProblem, planesOf, sizeOf, toBytes } from "./pixels.js";
import { blend, planAxis, tilingOf } from "./tiling.js";

const MODEL = "model.onnx";
const MOST_THREADS = 16;
const ARRAYS = {
  float32: Float32Array,
  uint8: Uint8Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
};
const WASM = { provider: "wasm", adapter: "", software: false, why: "" };
let opened = null; // {ort, session, passport, facts}
let stopped = false;
const channel = new MessageChannel();

const answers = { open, run, photo };

self.onmessage = async ({ data: { id, what, details } }) => {
  if (what === "stop") {
    stopped = true;
    return;
  }
  const news = (value, transfer = []) => self.postMessage({ id, news: value }, transfer);
  try {
    const result = await answers[what](details, news);
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};

/** Let messages in that came while WebAssembly kept this thread busy. */
function pause() {
  return new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });
}

async function fetched(name) {
  const answer = await fetch(name, { cache: "no-cache" });
  if (!answer.ok) throw new Error(`${name} cannot be loaded (HTTP ${answer.status}).`);
  return answer;
}

/** Load the model with the provider asked for, or the best there is. */
async function open({ provider, threads } = {}) {
  if (opened) return opened.facts;
  const began = performance.now();
  const [passport, settings] = await Promise.all(
    ["passport.json", "settings.json"].map(async (name) => (await fetched(name)).json()),
  );
  const model = new Uint8Array(await (await fetched(MODEL)).arrayBuffer());
  const checked = await checkHash(model, passport.files[MODEL].sha256);
  const asked = provider ?? settings.provider;
  let choice = await chooseProvider(asked, passport.precision);
  let created;
  try {
    created = await create(choice, threads, model);
  } catch (error) {
    if (choice.provider === "wasm" || asked === "webgpu") throw error;
    choice = { ...WASM, why: `WebGPU refused the model: ${error.message}` };
    created = await create(choice, threads, model);
  }
  const { ort, session, used } = created;
  const facts = {
    ...choice,
    threads: used.threads,
    mixed: Boolean(used.mixed),
    notes: [choice.why, used.why, checked].filter(Boolean),
    version: ort.env.versions.web,
    precision: passport.precision,
    model: passport.model,
    problem: photoProblem(passport),
    openMs: performance.now() - began,
    inputs: session.inputMetadata.map(port),
    outputs: session.outputMetadata.map(port),
  };
  opened = { ort, session, passport, facts };
  return facts;
}

async function create({ provider }, threads, model) {
  const used = provider === "wasm" ? threadCount(threads) : { threads: 1, why: "" };
  const ort = await loadRuntime(provider, used.threads);
  const options = { executionProviders: [provider], graphOptimizationLevel: "all", logSeverityLevel: 3 };
  if (provider === "webgpu") {
    try {
      const alone = { ...options, extra: { session: { disable_cpu_ep_fallback: "1" } } };
      return { ort, session: await ort.InferenceSession.create(model, alone), used };
    } catch (error) {
      if (!/fallback/i.test(error.message)) throw error;
      used.mixed = true;
      used.why = "WebGPU has no kernel for some operators of this network; those run on the processor.";
    }
  }
  return { ort, session: await ort.InferenceSession.create(model, options), used };
}

function port({ name, shape, type }) {
  return { name, shape, type };
}

/** Refuse a model with another SHA-256 than the passport's; a note where the browser cannot compute it. */
async function checkHash(bytes, expected) {
  if (!self.crypto?.subtle) return "The model's hash was not checked: the page is not served over https.";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash !== expected) {
    throw new Error(`${MODEL} was altered: its SHA-256 is not the one in passport.json. Copy the folder again.`);
  }
  return "";
}

/** WebGPU if a graphics processor is there; on a software adapter only if it is asked for by name. */
async function chooseProvider(asked, precision) {
  const wasm = (why) => ({ ...WASM, why });
  if (asked === "wasm") return wasm("");
  if (asked !== "webgpu" && precision === "int8") {
    return wasm("8-bit convolutions run on the processor: WebGPU has no kernels for them.");
  }
  const adapter = await self.navigator.gpu?.requestAdapter?.().catch(() => null);
  if (!adapter) {
    if (asked === "webgpu") throw new Error("WebGPU was asked for, and this browser offers no adapter for it.");
    return wasm(self.navigator.gpu ? "WebGPU has no adapter here." : "This browser has no WebGPU.");
  }
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info ?? {};
  const name = [vendor, architecture, device, description].filter(Boolean).join(" ") || "unnamed adapter";
  const software = Boolean(isFallbackAdapter) || /swiftshader|llvmpipe|warp|software/i.test(name);
  if (asked !== "webgpu" && software) return wasm(`WebGPU has only a software adapter here (${name}).`);
  if (asked !== "webgpu" && precision === "fp16" && !adapter.features.has("shader-f16")) {
    return wasm("WebGPU has no 16-bit floats here (shader-f16).");
  }
  return { provider: "webgpu", adapter: name, software, why: "" };
}

function threadCount(asked) {
  const most = Math.min(asked ?? self.navigator.hardwareConcurrency ?? 1, MOST_THREADS);
  if (self.crossOriginIsolated) return { threads: most, why: "" };
  const why = "One thread: the page is not cross-origin isolated. `fdikp-edge serve` sends the headers for that.";
  return { threads: 1, why: most > 1 ? why : "" };
}

async function loadRuntime(provider, threads) {
  const [script, binary] = provider === "webgpu"
    ? ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"]
    : ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"];
  const folder = new URL("ort/", import.meta.url);
  const ort = await import(new URL(script, folder).href);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(`${binary}.mjs`, folder).href, wasm: new URL(`${binary}.wasm`, folder).href };
  ort.env.logLevel = "error";
  return ort;
}

/** Run the network once on arrays by name; `ms` is the time of the run alone. */
async function run({ arrays }) {
  const { ort, session, passport } = opened;
  const feeds = {};
  for (const { name, dtype, shape } of passport.inputs) {
    feeds[name] = new ort.Tensor(dtype, new ARRAYS[dtype](arrays[name]), shape);
  }
  const began = performance.now();
  const results = await session.run(feeds);
  const ms = performance.now() - began;
  const given = {};
  for (const { name } of passport.outputs) given[name] = results[name].data.slice().buffer;
  return { arrays: given, ms };
}

/** Run a photo in tiles. News: {tile, tiles, ms} after each tile, {first, rows, pixels} for finished rows. */
async function photo({ bitmap }, news) {
  const { ort, session, passport, facts } = opened;
  if (facts.problem) throw new Error(facts.problem);
  stopped = false;
  const image = pixelsOf(bitmap);
  const [taken, given] = [passport.inputs[0], passport.outputs[0]];
  const [height, width] = sizeOf(taken);
  const scale = sizeOf(given)[0] / height;
  const isGrey = sizeOf(given)[2] === 1 || isGreyPhoto(image);
  const tiling = tilingOf([height, width]);
  const rows = planAxis(image.height, height, tiling);
  const columns = planAxis(image.width, width, tiling);
  const tiles = rows.starts.length * columns.starts.length;
  const tensor = new ARRAYS[taken.dtype](taken.shape.reduce((a, b) => a * b));
  const times = [];
  const start = performance.now();
  news({ tile: 0, tiles, width: image.width * scale, height: image.height * scale });
  const process = async (down, across) => {
    await pause();
    if (stopped) throw new Error("stopped");
    fillTensor(tensor, taken, image.data, image.width, down, across);
    const began = performance.now();
    const results = await session.run({ [taken.name]: new ort.Tensor(taken.dtype, tensor, taken.shape) });
    times.push(performance.now() - began);
    news({ tile: times.length, tiles, ms: times.at(-1), seconds: (performance.now() - start) / 1000 });
    return planesOf(results[given.name].data, given);
  };
  const band = (first, count, planes, stride) => {
    const pixels = toBytes(planes, stride, first, count, image.width * scale, scale, image, isGrey);
    news({ first, rows: count, pixels }, [pixels.buffer]);
  };
  await blend(rows, columns, scale, process, band);
  return { tiles, times };
}

function pixelsOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
