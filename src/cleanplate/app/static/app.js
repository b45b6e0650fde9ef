// The page: what the user gives and moves, what is asked of the server, and what is shown.

import { describeModel, Fault, Scene } from "./api.js";
import { Camera, countDown } from "./camera.js";
import { readMaps, readPicture, save, toBlob } from "./pictures.js";
import { Probe } from "./probe.js";
import { drawCutout, drawDepth, drawMask, edgeTable } from "./views.js";

const $ = (id) => document.getElementById(id);
const given = { plate: null, frame: null }; // canvases
const shown = { frame: null, maps: null, blob: null, scene: null }; // the last answer, and what it belongs to
let scene = null;
let background = null; // nothing, a colour, or a canvas
let backgroundPicture = null;
let turn = 0; // what was asked later counts; earlier answers that come late do not
let live = null; // an AbortController while the camera runs
let hasDepth = true;

const camera = new Camera($("video"), () => stopCamera("The camera has gone."));
const probe = new Probe({
  canvas: $("depth"), cross: $("cross"), value: $("depth-value"),
  mark: $("mark"), scale: $("scale"), near: $("near"), far: $("far"),
});

// --- words ---

function say(words) {
  $("status").textContent = words;
}

function warn(words) {
  if ($("warning").textContent !== words) $("warning").textContent = words; // else each frame would have it read out
}

/** Do what may fail, and tell the user in plain words when it does. */
async function attempt(work) {
  $("fault").textContent = "";
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Fault)) console.error(error);
    say("");
    $("result").ariaBusy = "false";
    $("fault").textContent = error instanceof Fault ? error.message : `Something went wrong here: ${error.message}`;
  }
}

// --- pictures ---

async function give(kind, file) {
  const picture = await readPicture(file);
  if (live) stopCamera();
  put(kind, picture);
  await answer();
}

function put(kind, picture) {
  given[kind] = picture;
  if (kind === "plate") scene = null;
  const preview = $(`${kind}-tile`).querySelector("canvas");
  preview.width = picture.width;
  preview.height = picture.height;
  preview.getContext("2d").drawImage(picture, 0, 0);
  preview.hidden = false;
}

/** Ask the server once both pictures are there. */
async function answer() {
  warn("");
  if (!given.plate || !given.frame) {
    say(given.plate ? "Now the frame: the same view with people in it." : "Now the plate: the same view with nobody in it.");
    return;
  }
  const mine = ++turn;
  say("Looking …");
  $("result").ariaBusy = "true";
  const start = performance.now();
  scene ??= new Scene(await toBlob(given.plate));
  const blob = await toBlob(given.frame);
  const { png, warning } = await scene.predict(blob, "maps");
  const maps = await readMaps(png);
  if (mine !== turn) return;
  show(given.frame, maps, blob);
  warn(warning);
  $("result").ariaBusy = "false";
  bringResultIntoSight();
  say(`Done in ${((performance.now() - start) / 1000).toFixed(2)} s. ${describe(maps)}`);
}

/** On a phone the result lies below the pictures. */
function bringResultIntoSight() {
  if ($("stage").getBoundingClientRect().top > innerHeight * 0.6) $("result").scrollIntoView();
}

function describe(maps) {
  let covered = 0;
  for (const value of maps.mask) covered += value;
  const share = (covered / maps.mask.length / 255) * 100;
  return share < 0.05 ? "Nobody was found in the picture." : `People cover ${share.toFixed(share < 10 ? 1 : 0)} % of the picture.`;
}

// --- what is shown ---

function show(frame, maps, blob) {
  Object.assign(shown, { frame, maps, blob, scene });
  $("empty").hidden = true;
  $("cutout").style.setProperty("--ratio", maps.width / maps.height);
  $("cutout").hidden = $("maps").hidden = $("controls").hidden = false;
  drawEdge();
  if (hasDepth) {
    drawDepth($("depth"), maps);
    probe.show(maps);
  }
}

function drawEdge() {
  if (!shown.maps) return;
  const table = edgeTable($("threshold").value / 100, $("softness").value / 100);
  drawCutout($("cutout"), shown.frame, shown.maps, table, background);
  drawMask($("mask"), shown.maps, table);
}

/** Draw once a picture of the screen, however many changes come between. */
let waiting = false;
function redraw() {
  $("threshold-value").textContent = `${$("threshold").value} %`;
  $("softness-value").textContent = `${$("softness").value} %`;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawEdge();
  });
}

function chooseBackground() {
  const kind = document.querySelector("[name=background]:checked").value;
  $("colour-row").hidden = kind !== "colour";
  $("picture-row").hidden = kind !== "picture";
  background = { none: null, colour: $("colour").value, picture: backgroundPicture }[kind];
  redraw();
}

async function saveAs(kind) {
  const name = `cleanplate-${kind}.png`;
  if (kind === "depth") save((await shown.scene.predict(shown.blob, "depth")).png, name);
  else save(await toBlob($(kind === "depth-colour" ? "depth" : kind)), name);
  say(`Saved as ${name}.`);
}

// --- the camera ---

async function openCamera() {
  say("Waiting for the camera …");
  $("camera-open").disabled = true; // a second camera could not be turned off any more
  try {
    await camera.open();
  } finally {
    $("camera-open").disabled = false;
  }
  live = new AbortController();
  $("camera-open").hidden = true;
  $("camera-panel").hidden = false;
  $("camera-plate").focus();
  say("The camera is on.");
}

function stopCamera(words = "The camera is off.") {
  live?.abort();
  live = null;
  camera.close();
  $("camera-panel").hidden = true;
  $("camera-pause").hidden = true;
  $("camera-open").hidden = false;
  $("camera-plate").disabled = false;
  $("count").hidden = true;
  $("rate").textContent = "";
  say(words);
}

/** Count down, take the plate, and go on with frames. */
async function takePlate() {
  live.abort();
  const mine = (live = new AbortController());
  $("camera-plate").disabled = true;
  await countDown(Number($("countdown").value), (left) => {
    $("count").hidden = false;
    $("count").textContent = left;
    say(`The plate is taken in ${left}.`);
  }, mine.signal);
  $("count").hidden = true;
  $("camera-plate").disabled = false;
  if (mine.signal.aborted) return;
  turn++;
  put("plate", camera.take());
  scene = new Scene(await toBlob(given.plate));
  $("camera-plate").textContent = "Take it again";
  say("The plate is taken. Walk in.");
  await run();
}

/** Show frame after frame. Two are under way at once: while one is computed, the next is on its way. */
async function run() {
  live.abort();
  const { signal } = (live = new AbortController());
  const times = [];
  $("camera-pause").hidden = false;
  $("camera-pause").textContent = "Pause";
  $("camera-words").textContent = "When the light changes or the camera has moved, take the plate again.";
  bringResultIntoSight();
  try {
    let next = ask();
    while (!signal.aborted) {
      const now = next;
      next = ask();
      next.catch(() => {}); // told when its turn comes
      const { frame, maps, blob, warning } = await now;
      if (signal.aborted) return;
      put("frame", frame);
      show(frame, maps, blob);
      warn(warning);
      times.push(performance.now());
      while (times[0] < times.at(-1) - 2000) times.shift();
      const rate = (times.length - 1) / ((times.at(-1) - times[0]) / 1000);
      $("rate").textContent = Number.isFinite(rate) ? `${rate.toFixed(1)} frames/s` : "";
      await new Promise(requestAnimationFrame); // none comes while the page is hidden: then it rests
    }
  } catch (error) {
    if (!signal.aborted) pause();
    throw error;
  }

  async function ask() {
    const frame = camera.take();
    const blob = await toBlob(frame, "image/jpeg", 0.92);
    const { png, warning } = await scene.predict(blob, "maps");
    return { frame, blob, maps: await readMaps(png), warning };
  }
}

function pause() {
  live.abort();
  $("camera-pause").textContent = "Go on";
  $("rate").textContent = "";
  say("Paused.");
}

// --- what the user does ---

function on(target, event, work) {
  target.addEventListener(event, (happened) => attempt(() => work(happened)));
}

for (const kind of ["plate", "frame"]) {
  const [tile, input] = [$(`${kind}-tile`), $(`${kind}-file`)];
  on(input, "change", async () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (file) await give(kind, file);
  });
  tile.addEventListener("dragover", () => tile.classList.add("over"));
  tile.addEventListener("dragleave", () => tile.classList.remove("over"));
  on(tile, "drop", async (event) => {
    tile.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (!file) throw new Fault("That is no file. Drop a picture from a folder.");
    await give(kind, file);
  });
}
for (const event of ["dragover", "drop"]) {
  window.addEventListener(event, (happened) => happened.preventDefault()); // else the page would be left for the picture
}
for (const button of document.querySelectorAll("[data-example]")) {
  on(button, "click", async () => {
    if (live) stopCamera("");
    for (const kind of ["plate", "frame"]) {
      const file = await fetch(`/static/examples/${button.dataset.example}-${kind}.jpg`);
      put(kind, await readPicture(await file.blob()));
    }
    await answer();
  });
}
for (const button of document.querySelectorAll("[data-save]")) {
  on(button, "click", () => saveAs(button.dataset.save));
}
on($("camera-open"), "click", openCamera);
on($("camera-plate"), "click", takePlate);
on($("camera-pause"), "click", () => {
  if (!live.signal.aborted) return pause();
  say("Going on.");
  return run();
});
on($("camera-close"), "click", () => {
  stopCamera();
  $("camera-open").focus();
});
for (const radio of document.querySelectorAll("[name=background]")) on(radio, "change", chooseBackground);
on($("colour"), "input", chooseBackground);
on($("picture-file"), "change", async () => {
  const [file] = $("picture-file").files;
  if (!file) return;
  backgroundPicture = await readPicture(file);
  chooseBackground();
});
on($("threshold"), "input", redraw);
on($("softness"), "input", redraw);
on($("edge-reset"), "click", () => {
  $("threshold").value = 50;
  $("softness").value = 100;
  redraw();
});

attempt(async () => {
  const model = await describeModel();
  hasDepth = model.depth !== null;
  probe.metres = model.metres;
  $("depth-figure").hidden = !hasDepth;
  for (const kind of ["depth", "depth-colour"]) document.querySelector(`[data-save=${kind}]`).hidden = !hasDepth;
  $("model").textContent = `Network: ${model.weights}, which sees ${model.size} pixels. cleanplate ${model.version}.`;
});
