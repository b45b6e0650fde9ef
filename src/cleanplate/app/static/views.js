// What is drawn of an answer: the people on a background, the mask, the depth in colour.

/** Opacity, 0 to 255, of each mask value: a ramp around the threshold, `softness` wide; both 0 to 1. */
export function edgeTable(threshold, softness) {
  const ramp = (value) => (value / 255 - threshold) / Math.max(softness, 1 / 255) + 0.5;
  return Uint8ClampedArray.from({ length: 256 }, (_, value) => ramp(value) * 255);
}

/** Draw the frame's people onto nothing, a colour or a picture; all canvases. */
export function drawCutout(canvas, frame, maps, table, background) {
  const people = frame.getContext("2d").getImageData(0, 0, maps.width, maps.height);
  for (let pixel = 0; pixel < maps.mask.length; pixel++) people.data[4 * pixel + 3] = table[maps.mask[pixel]];
  const context = resize(canvas, maps);
  if (!background) {
    context.putImageData(people, 0, 0);
    return;
  }
  if (typeof background === "string") {
    context.fillStyle = background;
    context.fillRect(0, 0, maps.width, maps.height);
  } else {
    drawCovering(context, background, maps);
  }
  layer.width = maps.width;
  layer.height = maps.height;
  layer.getContext("2d").putImageData(people, 0, 0);
  context.drawImage(layer, 0, 0);
}

const layer = document.createElement("canvas");

/** Fill the canvas with a picture, what does not fit cut away. */
function drawCovering(context, picture, { width, height }) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
}

export function drawMask(canvas, maps, table) {
  draw(canvas, maps, (pixel) => GREYS[table[maps.mask[pixel]]]);
}

export function drawDepth(canvas, maps) {
  draw(canvas, maps, (pixel) => COLOURS[maps.depth[pixel] >> 8]);
}

/** Draw a picture of whole pixels, 32 bits each. */
function draw(canvas, maps, colourOf) {
  const context = resize(canvas, maps);
  const picture = context.createImageData(maps.width, maps.height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let pixel = 0; pixel < pixels.length; pixel++) pixels[pixel] = colourOf(pixel);
  context.putImageData(picture, 0, 0);
}

function resize(canvas, { width, height }) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return context;
}

// Viridis, as `cleanplate predict` colours depth: near is yellow, far is violet.
const STOPS = [
  [253, 231, 37], [213, 226, 26], [170, 220, 50], [129, 211, 77], [92, 200, 99], [61, 188, 116],
  [39, 173, 129], [31, 159, 136], [33, 145, 140], [38, 130, 142], [44, 114, 142], [51, 99, 141],
  [59, 82, 139], [66, 64, 134], [71, 45, 123], [72, 24, 106], [68, 1, 84],
];

/** The colour of a depth, 0 nearest to 1 farthest, as [red, green, blue]. */
export function depthColour(depth) {
  const place = depth * (STOPS.length - 1);
  const stop = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[stop].map((from, channel) => Math.round(from + (STOPS[stop + 1][channel] - from) * (place - stop)));
}

const whole = ([red, green, blue]) => new Uint32Array(new Uint8Array([red, green, blue, 255]).buffer)[0];
const GREYS = Array.from({ length: 256 }, (_, value) => whole([value, value, value]));
const COLOURS = Array.from({ length: 256 }, (_, value) => whole(depthColour(value / 255)));
