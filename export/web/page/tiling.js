// Cuts a photo into tiles and blends the results without seams: the counterpart of runtime/tiles/tiling.py.
//
// Along each axis the tiles are spread evenly over multiples of the alignment, and overlap by at least two
// halos. Within an overlap the weight passes from one tile to the next along a raised cosine. Weights are
// multiples of 1/4096, so those over a pixel add up to exactly 1. Beyond the photo lies its mirror image.

const STEPS = 4096;

/** Halo, border and alignment for tiles of [height, width] pixels, as Tiling.of in Python has them. */
export function tilingOf([height, width]) {
  const least = Math.min(height, width);
  const halo = Math.floor(least / 8);
  let align = gcd(gcd(height, width), 32);
  while (align > 1 && 8 * align > least) align = Math.floor(align / 2);
  return { halo, border: halo, align };
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

/** Where the tiles of one side begin; negative where a tile begins before the photo. */
export function planAxis(length, tile, { halo, border, align }) {
  if (length <= tile) {
    const before = Math.floor((tile - length + align) / (2 * align)) * align;
    return axis(length, tile, halo, [-before]);
  }
  const first = Math.floor(-border / align) * align;
  const units = Math.ceil((length + border - tile - first) / align); // from the first start to the last
  const gaps = Math.ceil(units / Math.floor((tile - 2 * halo) / align));
  const starts = [];
  for (let i = 0; i <= gaps; i++) starts.push(first + Math.floor((i * units) / gaps) * align);
  return axis(length, tile, halo, starts);
}

function axis(length, tile, halo, starts) {
  const ramps = starts.slice(1).map((next, i) => Math.floor((starts[i] + tile + next) / 2) - halo);
  return { length, tile, halo, starts, ramps };
}

/** The same cut of a result that is `scale` times as large. */
export function scaledAxis({ length, tile, halo, starts }, scale) {
  return axis(length * scale, tile * scale, halo * scale, starts.map((start) => start * scale));
}

/** The weight of tile `index` over its own pixels, multiples of 1/4096. */
export function weights({ tile, halo, starts, ramps }, index) {
  const passed = (ramp, position) => {
    if (halo === 0) return position >= ramp ? STEPS : 0;
    const share = Math.min(Math.max((position - ramp + 0.5) / (2 * halo), 0), 1);
    return Math.round(STEPS * (0.5 - 0.5 * Math.cos(Math.PI * share)));
  };
  return Float32Array.from({ length: tile }, (_, i) => {
    const position = starts[index] + i;
    const before = index > 0 ? passed(ramps[index - 1], position) : STEPS;
    const after = index < ramps.length ? passed(ramps[index], position) : 0;
    return (before - after) / STEPS;
  });
}

/** Positions in the photo of `count` pixels from `start` on, mirrored at both ends. */
export function mirrored(start, count, length) {
  const period = 2 * (length - 1);
  return Int32Array.from({ length: count }, (_, i) => {
    if (length === 1) return 0;
    const index = Math.abs(start + i) % period;
    return index < length ? index : period - index;
  });
}

/**
 * Run `process` on every tile and hand over the blended result from top to bottom.
 *
 * process(rows, columns): Int32Arrays of positions in the photo -> a promise of Float32Array planes, 3 x
 * height x width of the scaled tile. band(first, count, planes, stride): `count` finished rows from row
 * `first` on; row r of channel c begins at planes[c * stride + r * width]. Only one row of tiles is held.
 */
export async function blend(rows, columns, scale, process, band) {
  const [down, across] = [scaledAxis(rows, scale), scaledAxis(columns, scale)];
  const width = across.length;
  const stride = down.tile * width;
  const planes = new Float32Array(3 * stride);
  const acrossWeights = across.starts.map((_, i) => weights(across, i));
  for (let i = 0; i < down.starts.length; i++) {
    const top = down.starts[i];
    const downWeights = weights(down, i);
    for (let j = 0; j < across.starts.length; j++) {
      const result = await process(
        mirrored(rows.starts[i], rows.tile, rows.length),
        mirrored(columns.starts[j], columns.tile, columns.length),
      );
      add(planes, width, result, down.tile, across.tile, across.starts[j], downWeights, acrossWeights[j]);
    }
    const done = i + 1 < down.starts.length ? down.starts[i + 1] - top : down.tile;
    const [first, last] = [Math.max(top, 0), Math.min(top + done, down.length)];
    if (first < last) band(first, last - first, planes.subarray((first - top) * width), stride);
    for (let c = 0; c < 3; c++) {
      const plane = planes.subarray(c * stride, (c + 1) * stride);
      plane.copyWithin(0, done * width);
      plane.fill(0, (down.tile - done) * width);
    }
  }
}

function add(planes, width, result, height, tile, left, down, across) {
  const [begin, end] = [Math.max(left, 0), Math.min(left + tile, width)];
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < height; y++) {
      if (down[y] === 0) continue;
      const to = (c * height + y) * width;
      const from = (c * height + y) * tile - left;
      for (let x = begin; x < end; x++) planes[to + x] += result[from + x] * (down[y] * across[x - left]);
    }
  }
}
