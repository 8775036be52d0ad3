// Between the pixels of a tile and what the network takes and returns: the counterpart of
// runtime/tiles/runner.py for photos of 8 bits. A contract is an entry of `inputs` or `outputs` in
// passport.json: shape, dtype (float32 or uint8), layout (NCHW or NHWC) and value_range.

const LUMINANCE = [0.2126, 0.7152, 0.0722]; // ITU-R BT.709

/** Height, width and number of channels of a contract. */
export function sizeOf({ shape, layout }) {
  return layout === "NCHW" ? [shape[2], shape[3], shape[1]] : [shape[1], shape[2], shape[3]];
}

/** Why a photo cannot go through this network, or an empty text. */
export function photoProblem({ inputs, outputs }) {
  const ends = [...inputs, ...outputs];
  const told = (list) => list.map((end) => `${end.name} ${end.shape.join("x")}`).join(", ");
  const picture = (end) => end.layout && end.color_space && end.shape[0] === 1 && [1, 3, 4].includes(sizeOf(end)[2]);
  if (ends.length !== 2 || !ends.every(picture)) {
    return `This network takes ${told(inputs)} and returns ${told(outputs)}, so no photo goes through it.`;
  }
  const [taken, given] = [sizeOf(inputs[0]), sizeOf(outputs[0])];
  const scale = Math.floor(given[0] / taken[0]);
  if (!scale || given[0] !== taken[0] * scale || given[1] !== taken[1] * scale) {
    return `This network turns ${taken[0]}x${taken[1]} into ${given[0]}x${given[1]}, which tiles cannot put together.`;
  }
  return "";
}

/** Fill `tensor` with the pixels at `rows` and `columns` of an RGBA photo of `width` pixels. */
export function fillTensor(tensor, contract, rgba, width, rows, columns) {
  const [height, tileWidth, channels] = sizeOf(contract);
  const planar = contract.layout === "NCHW";
  const values = levels(contract);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < tileWidth; x++) {
      const from = 4 * (rows[y] * width + columns[x]);
      for (let c = 0; c < channels; c++) {
        const to = planar ? (c * height + y) * tileWidth + x : (y * tileWidth + x) * channels + c;
        tensor[to] = values[channels === 1 ? grey(rgba, from) : c === 3 ? 255 : rgba[from + c]];
      }
    }
  }
}

function grey(rgba, from) {
  return roundHalfEven(rgba[from] * LUMINANCE[0] + rgba[from + 1] * LUMINANCE[1] + rgba[from + 2] * LUMINANCE[2]);
}

const rounder = new Uint8ClampedArray(1); // assignment rounds halves to even, as NumPy does

function roundHalfEven(value) {
  rounder[0] = value;
  return rounder[0];
}

/** What each byte becomes, in steps of float32 as in Python. */
function levels({ dtype, value_range: range }) {
  const bytes = Array.from({ length: 256 }, (_, i) => i);
  if (dtype === "uint8") return bytes;
  const [low, high] = range ?? [0, 1];
  const f = Math.fround;
  return bytes.map((byte) => f(f(f(byte / 255) * f(high - low)) + f(low)));
}

/** The network's result as 3 planes from 0 to 1; throws where it holds what is no finite number. */
export function planesOf(result, contract) {
  const [height, width, channels] = sizeOf(contract);
  const [low, high] = contract.dtype === "uint8" ? [0, 255] : contract.value_range ?? [0, 1];
  const planar = contract.layout === "NCHW";
  const size = height * width;
  const planes = new Float32Array(3 * size);
  const f = Math.fround;
  for (let c = 0; c < 3; c++) {
    const channel = channels === 1 ? 0 : c;
    for (let i = 0; i < size; i++) {
      const value = f(f(result[planar ? channel * size + i : i * channels + channel] - low) / f(high - low));
      if (!Number.isFinite(value)) throw new Error("The network returned values that are not finite numbers.");
      planes[c * size + i] = value < 0 ? 0 : value > 1 ? 1 : value;
    }
  }
  return planes;
}

/** Finished rows as RGBA bytes; transparency is that of the photo, `scale` times as large. */
export function toBytes(planes, stride, first, count, width, scale, photo, isGrey) {
  const bytes = new Uint8ClampedArray(4 * count * width);
  const f = Math.fround;
  for (let y = 0; y < count; y++) {
    const alphaRow = Math.floor((first + y) / scale) * photo.width;
    for (let x = 0; x < width; x++) {
      const [at, to] = [y * width + x, 4 * (y * width + x)];
      const rgb = [planes[at], planes[stride + at], planes[2 * stride + at]];
      if (isGrey) rgb.fill(f(f(f(rgb[0] + rgb[1]) + rgb[2]) / 3));
      for (let c = 0; c < 3; c++) bytes[to + c] = f(rgb[c] * 255);
      bytes[to + 3] = photo.data[4 * (alphaRow + Math.floor(x / scale)) + 3];
    }
  }
  return bytes;
}

/** Whether every pixel has three equal colours. */
export function isGreyPhoto({ data }) {
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return false;
  }
  return true;
}
