// The page: a photo in, the network's result beside it, saved as a PNG. The work is done in worker.js.

import { Engine } from "./engine.js";
import { photoProblem, sizeOf } from "./pixels.js";

const MOST_PIXELS = 64e6; // of the photo, and of the result: a browser holds several copies of each
const MOST_SIDE = 16384; // what canvases take
const LEAST_SIDE = 2; // as in Python
const $ = (id) => document.getElementById(id);
const engine = new Engine();
let busy = false;
let cancelled = false;
let name = "photo";
let sample = "";
let scale = 1; // how many times as large as the photo the result is, along each side
let output = "result";

/** Show what happens; the status is read out, an error at once. */
function tell(status, error = "") {
  $("status").textContent = status;
  $("error").textContent = error;
  $("error").hidden = !error;
}

async function begin() {
  const [passport, settings] = await Promise.all(
    ["passport.json", "settings.json"].map(async (file) => (await fetch(file, { cache: "no-cache" })).json()),
  );
  sample = settings.sample;
  output = passport.outputs[0].name;
  document.title = $("title").textContent = `${passport.model} in the browser`;
  const problem = photoProblem(passport);
  if (problem) {
    $("about").textContent = problem;
    return;
  }
  const [height, width] = sizeOf(passport.inputs[0]);
  scale = sizeOf(passport.outputs[0])[0] / height;
  $("about").textContent =
    `Runs ${passport.model} (${passport.precision}) on a photo of any size, in tiles of ${height} x ${width} pixels. ` +
    "The photo is not sent anywhere.";
  $("start").hidden = false;
}

/** Pixels of a picture without decoding all of it; rejects what is no picture. */
async function measure(address) {
  const image = new Image();
  image.src = address;
  await new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = () => reject(new Error("no picture"));
  });
  return [image.naturalWidth, image.naturalHeight];
}

async function bitmapOf(file) {
  const address = URL.createObjectURL(file);
  try {
    const [width, height] = await measure(address);
    if (Math.min(width, height) < LEAST_SIDE) {
      throw new Error(`${file.name} has ${width} x ${height} pixels: too small for a photo.`);
    }
    const pixels = width * height * scale * scale;
    if (pixels > MOST_PIXELS || Math.max(width, height) * scale > MOST_SIDE) {
      const result = scale > 1 ? `, and the result ${scale} times that along each side` : "";
      throw new Error(
        `${file.name} has ${width} x ${height} pixels${result}. ` +
        `The page takes up to ${MOST_PIXELS / 1e6} megapixels and ${MOST_SIDE} pixels a side; make it smaller first.`,
      );
    }
    return await createImageBitmap(file);
  } catch (error) {
    if (/pixels/.test(error.message)) throw error;
    throw new Error(`${file.name} is not a picture that this browser can read.`);
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function work(file) {
  if (busy) return;
  busy = true;
  cancelled = false;
  $("file").disabled = $("sample").disabled = true;
  $("save").disabled = true;
  const awake = keepAwake();
  tell(`Reading ${file.name}.`);
  try {
    const bitmap = await bitmapOf(file);
    name = file.name.replace(/\.[^.]*$/, "");
    $("work").hidden = false;
    $("progress").removeAttribute("value");
    tell("Loading the network.");
    const facts = await engine.ask("open", {});
    showFacts(facts);
    if (cancelled) throw new Error("stopped");
    if (facts.problem) throw new Error(facts.problem);
    showBefore(bitmap);
    const began = performance.now();
    const { tiles, times } = await engine.ask("photo", { bitmap }, [bitmap], onNews);
    const seconds = (performance.now() - began) / 1000;
    const tile = median(times);
    fact("time of a tile", `${duration(tile)} (median of ${tiles})`);
    fact("time of the photo", `${seconds.toFixed(1)} s`);
    tell(`Done: ${tiles} ${tiles === 1 ? "tile" : "tiles"} in ${seconds.toFixed(1)} s.`);
    $("save").disabled = false;
  } catch (error) {
    if (error.message === "stopped") tell("Cancelled. Rows that were finished are shown.");
    else tell("", error.message);
  } finally {
    busy = false;
    awake?.then((lock) => lock?.release());
    $("work").hidden = true;
    $("left").textContent = "";
    $("file").disabled = $("sample").disabled = false;
    $("file").value = "";
  }
}

/** Keep the screen of a phone on: pages of a dark screen are stopped. Undefined where that is not to be had. */
const keepAwake = () => navigator.wakeLock?.request("screen").catch(() => undefined);

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const duration = (ms) =>
  ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

function showBefore(bitmap) {
  const [before, after] = [$("before"), $("after")];
  [before.width, before.height] = [bitmap.width, bitmap.height];
  before.getContext("2d").drawImage(bitmap, 0, 0);
  after.width = after.height = 1;
  $("result").hidden = false;
  setZoom(false);
}

function onNews(news) {
  if (news.pixels) {
    const data = new ImageData(news.pixels, news.pixels.length / 4 / news.rows);
    $("after").getContext("2d").putImageData(data, 0, news.first);
    return;
  }
  if (news.tile === 0) {
    [$("after").width, $("after").height] = [news.width, news.height];
    tell(`Running ${news.tiles} ${news.tiles === 1 ? "tile" : "tiles"}.`);
  } else {
    fact("time of a tile", `${duration(news.ms)} (the last)`);
    $("left").textContent = `${news.tile} of ${news.tiles}, ${timeLeft(news)}`;
  }
  $("progress").max = news.tiles;
  $("progress").value = news.tile;
}

/** What the tiles so far let expect, in words. */
function timeLeft({ tile, tiles, seconds }) {
  const left = (seconds / tile) * (tiles - tile);
  return left < 90 ? `${Math.ceil(left)} s left` : `${Math.round(left / 60)} min left`;
}

function showFacts(facts) {
  const how = facts.provider === "webgpu"
    ? `WebGPU (${facts.adapter}${facts.software ? ", software: correct, but slow" : ""})`
    : `WebAssembly, ${facts.threads} ${facts.threads === 1 ? "thread" : "threads"}`;
  $("list").replaceChildren();
  fact("runs on", how);
  for (const note of facts.notes) fact("note", note);
  fact("network", `${facts.model}, ${facts.precision}`);
  fact("runtime", `ONNX Runtime Web ${facts.version}`);
  fact("time to load", duration(facts.openMs));
  $("facts").hidden = false;
}

function fact(term, text) {
  const known = [...$("list").querySelectorAll("dt")].find((dt) => dt.textContent === term && term !== "note");
  if (known) {
    known.nextElementSibling.textContent = text;
    return;
  }
  const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
  [dt.textContent, dd.textContent] = [term, text];
  $("list").append(dt, dd);
}

function setDivider(percent) {
  const share = Math.min(Math.max(percent, 0), 100);
  $("slider").value = share;
  $("after").style.clipPath = `inset(0 0 0 ${share}%)`;
  $("divider").style.left = `${share}%`;
}

/** 1:1 shows one pixel of the result on one pixel of the screen. */
function setZoom(actual) {
  $("zoom").setAttribute("aria-pressed", String(actual));
  $("viewer").classList.toggle("actual", actual);
  const width = ($("before").width * scale) / devicePixelRatio;
  $("before").style.width = actual ? `${width}px` : "";
  const viewer = $("viewer");
  viewer.scrollTo((viewer.scrollWidth - viewer.clientWidth) / 2, (viewer.scrollHeight - viewer.clientHeight) / 2);
}

async function save() {
  const blob = await new Promise((resolve) => $("after").toBlob(resolve, "image/png"));
  if (!blob) return tell("", "The browser could not write the picture: too little memory.");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}-${output}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  tell(`Saved as ${link.download}.`);
}

$("file").addEventListener("change", () => $("file").files[0] && work($("file").files[0]));
$("file").addEventListener("focus", () => document.querySelector("label.button").classList.add("focused"));
$("file").addEventListener("blur", () => document.querySelector("label.button").classList.remove("focused"));
$("sample").addEventListener("click", async () => {
  const answer = await fetch(sample);
  work(new File([await answer.blob()], sample));
});
function cancel() {
  cancelled = true; // in case that the network is still being loaded
  engine.stop();
}

$("cancel").addEventListener("click", cancel);
document.addEventListener("keydown", (event) => event.key === "Escape" && busy && cancel());
$("zoom").addEventListener("click", () => setZoom($("zoom").getAttribute("aria-pressed") !== "true"));
$("save").addEventListener("click", save);
$("slider").addEventListener("input", () => setDivider(Number($("slider").value)));
for (const kind of ["pointerdown", "pointermove"]) {
  $("stage").addEventListener(kind, (event) => {
    if (!event.buttons || $("viewer").classList.contains("actual")) return;
    $("stage").setPointerCapture(event.pointerId); // the divider follows beyond the edge, too
    const box = $("stage").getBoundingClientRect();
    setDivider((100 * (event.clientX - box.left)) / box.width);
  });
}
addEventListener("dragover", (event) => event.preventDefault());
for (const [kind, over] of [["dragenter", true], ["dragleave", false], ["drop", false]]) {
  $("drop").addEventListener(kind, () => $("drop").classList.toggle("over", over));
}
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) work(file);
});

setDivider(50);
begin().catch(() => tell("", "passport.json or settings.json cannot be loaded. Copy the whole folder of the artifact."));
