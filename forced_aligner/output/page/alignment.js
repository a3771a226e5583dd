"use strict";
// Shows one alignment: the words above the mel spectrogram, the transcript below, and the word being spoken in both.
// Text is set by textContent alone. Only what is in view, and one width beside it, is in the picture.

const $ = (id) => document.getElementById(id);
const { file, paragraphs, tiles, tile_s: TILE_S } = JSON.parse($("data").textContent);
const audio = $("audio"), picture = $("picture"), strip = $("strip");

const MIN_ZOOM = 4, START_ZOOM = 180, MAX_ZOOM = 800; // pixels a second
const ZOOM_STEP = 1.5;
const COARSE_ZOOM = 60; // below, lines at the words' boundaries would hide the picture
const MAX_STRIP_PX = 10e6; // browsers lay out no wider elements reliably
const LABEL_PX = 14, SMALLEST_LABEL_PX = 9;
const MIN_LIT_MS = 80; // a word without a length is lit for one time bin
const ROUNDING_MS = 1; // a browser may seek to just before the time it was given
const TICKS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
const TICK_PX = 70; // the least distance of two ticks

const words = file.words.map((word, index) => ({ ...word, index }));
const timed = words.filter((word) => word.start_time_ms !== null);
timed.sort((a, b) => a.start_time_ms - b.start_time_ms);
const longest = timed.reduce((most, word) => Math.max(most, word.end_time_ms - word.start_time_ms), 0);
const spans = []; // the transcript's elements, by the index of the word
const layers = {}; // the picture's elements: name -> Map of key -> element
let zoom = 0, litIndex = -1, following = true;

function clock(seconds, digits = 0) {
  const rounded = Math.round(seconds * 1000) / 1000;
  const hours = Math.floor(rounded / 3600), minutes = Math.floor((rounded % 3600) / 60);
  const rest = (Math.floor((rounded % 60) * 10 ** digits + 1e-6) / 10 ** digits).toFixed(digits);
  const padded = rest.padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${padded}` : `${minutes}:${padded}`;
}

function kinds(word) {
  return ["word", word.weak && "weak", word.doubtful && "doubtful", word.status, word.mark && "mark"].filter(Boolean);
}

function describe(word) {
  if (word.start_time_ms === null) return word.status === "not-found" ? "not found in the audio" : "";
  const times = [word.start_time_ms, word.end_time_ms].map((ms) => clock(ms / 1000, 2));
  return `${times[0]} to ${times[1]}, confidence ${(word.confidence ?? 0).toFixed(2)}`;
}

function element(name, ...classes) {
  const made = document.createElement(name);
  made.classList.add(...classes);
  return made;
}

// ---- the transcript

function writeTranscript() {
  let lastMs = 0;
  for (const [number, first] of paragraphs.entries()) {
    const part = words.slice(first, paragraphs[number + 1] ?? words.length);
    const text = element("p");
    text.dir = "auto";
    for (const word of part) {
      const span = element("span", ...kinds(word));
      span.textContent = word.text;
      span.title = describe(word);
      span.dataset.index = word.index;
      // What has no times plays from the end of the word before it.
      span.dataset.ms = word.start_time_ms ?? lastMs;
      lastMs = word.end_time_ms ?? lastMs;
      if (word !== part[0] && !word.glued) text.append(" ");
      text.append(span);
      spans[word.index] = span;
    }
    const time = element("time");
    const startMs = part.find((word) => word.start_time_ms !== null)?.start_time_ms;
    time.textContent = startMs === undefined ? "" : clock(startMs / 1000);
    const paragraph = element("div", "paragraph");
    paragraph.append(time, text);
    $("transcript").append(paragraph);
  }
}

// ---- the picture

/** Put the elements of `keys` into a layer, and take all others out; `make` makes one that is not there yet. */
function renew(name, keys, make) {
  const nodes = (layers[name] ??= new Map());
  const wanted = new Set(keys);
  for (const [key, node] of nodes) if (!wanted.has(key)) (node.remove(), nodes.delete(key));
  for (const key of wanted) {
    if (nodes.has(key)) continue;
    const node = make(key);
    nodes.set(key, node);
    $(name).append(node);
  }
}

function place(node, startS, endS, leastPx = 0) {
  node.style.left = `${startS * zoom}px`;
  node.style.width = `${Math.max((endS - startS) * zoom, leastPx)}px`;
}

function range(from, to) {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}

function draw() {
  const width = picture.clientWidth;
  const from = Math.max(0, (picture.scrollLeft - width) / zoom);
  const to = Math.min(file.duration_s, (picture.scrollLeft + 2 * width) / zoom);
  renew("tiles", range(Math.floor(from / TILE_S), Math.min(tiles.length, Math.ceil(to / TILE_S))), makeTile);
  renew("words", wordsBetween(from * 1000, to * 1000), makeWord);
  const step = TICKS_S.find((seconds) => seconds * zoom >= TICK_PX) ?? TICKS_S.at(-1);
  renew("ticks", range(Math.floor(from / step), Math.ceil(to / step)), (number) => makeTick(number, step));
  const gaps = file.untranscribed ?? [];
  renew("gaps", range(0, gaps.length).filter((n) => gaps[n].end_s > from && gaps[n].start_s < to), (number) => {
    const node = element("div", "gap");
    place(node, gaps[number].start_s, gaps[number].end_s);
    return node;
  });
}

/** The positions in `timed` of the words that lie there; of words that begin in one pixel, the last alone. */
function wordsBetween(fromMs, toMs) {
  const byPixel = new Map();
  for (let at = Math.max(0, lastStarted(fromMs - longest)); at < timed.length; at++) {
    const word = timed[at];
    if (word.start_time_ms > toMs) break;
    if (word.end_time_ms >= fromMs) byPixel.set(Math.floor((word.start_time_ms * zoom) / 1000), at);
  }
  return byPixel.values();
}

function makeTile(number) {
  const tile = element("img");
  tile.alt = "";
  tile.src = tiles[number];
  place(tile, number * TILE_S, Math.min((number + 1) * TILE_S, file.duration_s));
  return tile;
}

function makeWord(at) {
  const word = timed[at];
  const node = element("span", ...kinds(word)), label = element("span", "label");
  place(node, word.start_time_ms / 1000, word.end_time_ms / 1000, 2);
  node.title = `${word.text}: ${describe(word)}`;
  node.dataset.ms = word.start_time_ms;
  node.dataset.index = word.index;
  node.classList.toggle("lit", word.index === litIndex);
  const space = ((word.end_time_ms - word.start_time_ms) * zoom) / 1000 - 4;
  const size = LABEL_PX * Math.min(1, space / labelWidth(word));
  if (size >= SMALLEST_LABEL_PX) {
    label.textContent = word.text;
    label.style.fontSize = `${size}px`;
  }
  node.append(label);
  return node;
}

const pen = document.createElement("canvas").getContext("2d");
pen.font = `${LABEL_PX}px ${getComputedStyle(document.body).fontFamily}`;
function labelWidth(word) {
  return (word.labelWidth ??= Math.max(1, pen.measureText(word.text).width));
}

function makeTick(number, step) {
  const tick = element("span");
  const isNearTheEnd = (file.duration_s - number * step) * zoom < TICK_PX - 10;
  tick.textContent = isNearTheEnd ? "" : clock(number * step, step < 1 ? 1 : 0);
  tick.style.left = `${number * step * zoom}px`;
  return tick;
}

function setZoom(wanted) {
  const width = picture.clientWidth;
  const fit = Math.max(width / file.duration_s, MIN_ZOOM);
  const most = Math.max(Math.min(MAX_ZOOM, MAX_STRIP_PX / file.duration_s), fit);
  const head = audio.currentTime * zoom - picture.scrollLeft;
  const anchorPx = head >= 0 && head <= width ? head : width / 2; // stays where it is
  const anchorS = zoom ? (picture.scrollLeft + anchorPx) / zoom : 0;
  zoom = Math.min(Math.max(wanted, fit), most);
  strip.classList.toggle("coarse", zoom < COARSE_ZOOM);
  strip.style.width = `${file.duration_s * zoom}px`;
  for (const nodes of Object.values(layers)) {
    for (const node of nodes.values()) node.remove();
    nodes.clear();
  }
  picture.scrollLeft = anchorS * zoom - anchorPx;
  $("zoom-out").disabled = zoom <= fit;
  $("zoom-in").disabled = zoom >= most;
  draw();
  light();
}

// ---- time

/** The position in `timed` of the last word that begins at `ms` or before; -1 if none does. */
function lastStarted(ms) {
  let low = 0, high = timed.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timed[middle].start_time_ms <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function nowMs() {
  return audio.currentTime * 1000 + ROUNDING_MS;
}

/** Light the word being spoken, in the picture and in the transcript, and show where the playback is. */
function light() {
  const word = timed[lastStarted(nowMs())];
  const isSpoken = word && nowMs() < Math.max(word.end_time_ms, word.start_time_ms + MIN_LIT_MS);
  const index = isSpoken ? word.index : -1;
  if (index !== litIndex) {
    for (const node of document.querySelectorAll("#words .lit, #transcript .lit")) node.classList.remove("lit");
    litIndex = index;
    spans[index]?.classList.add("lit");
    $("words").querySelector(`[data-index="${index}"]`)?.classList.add("lit");
    if (following) followTranscript();
  }
  $("playhead").style.transform = `translateX(${audio.currentTime * zoom}px)`;
  if (following) followPicture();
}

function followPicture() {
  const head = audio.currentTime * zoom - picture.scrollLeft, width = picture.clientWidth;
  if (head < 0 || head > 0.85 * width) picture.scrollLeft = audio.currentTime * zoom - 0.2 * width;
}

function followTranscript() {
  if (audio.paused && audio.currentTime === 0) return; // nobody has begun to listen
  const box = spans[litIndex]?.getBoundingClientRect();
  const top = getComputedStyle($("player")).position === "sticky" ? $("player").getBoundingClientRect().bottom : 0;
  if (box && (box.top < top || box.bottom > innerHeight)) spans[litIndex].scrollIntoView({ block: "center" });
}

function seek(seconds) {
  following = true;
  audio.currentTime = Math.min(Math.max(seconds, 0), file.duration_s);
  light();
}

function playFrom(seconds) {
  seek(seconds);
  audio.play().catch(() => {}); // `error` tells of audio that cannot be played; a pause cuts a start off rightly
}

function step(direction) {
  const at = lastStarted(nowMs());
  const next = direction > 0 ? at + 1 : lastStarted((timed[at]?.start_time_ms ?? 0) - ROUNDING_MS);
  if (timed[next]) seek(timed[next].start_time_ms / 1000);
}

function tick() {
  light();
  if (!audio.paused) requestAnimationFrame(tick);
}

// ---- what the user does

const keys = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  " ": () => (audio.paused ? playFrom(audio.ended ? 0 : audio.currentTime) : audio.pause()),
  "+": () => setZoom(zoom * ZOOM_STEP),
  "=": () => setZoom(zoom * ZOOM_STEP),
  "-": () => setZoom(zoom / ZOOM_STEP),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  if (event.key === " " && event.target.closest("button")) return;
  event.preventDefault();
  keys[event.key]();
});
document.addEventListener("click", (event) => {
  const word = event.target.closest("[data-ms]");
  if (word) playFrom(word.dataset.ms / 1000);
  else if (strip.contains(event.target)) playFrom((event.clientX - strip.getBoundingClientRect().left) / zoom);
});
for (const [name, key] of [["zoom-in", "+"], ["zoom-out", "-"]]) {
  $(name).addEventListener("click", (event) => {
    keys[key]();
    if (event.detail) event.currentTarget.blur(); // after a mouse's click, the space bar plays again
  });
}
// Who scrolls by hand looks elsewhere, until the playback starts or goes somewhere.
for (const name of ["wheel", "touchmove"]) addEventListener(name, () => (following = false), { passive: true });
picture.addEventListener("pointerdown", () => (following = false));

for (const name of ["play", "seeking"]) audio.addEventListener(name, () => (following = true));
audio.addEventListener("play", () => requestAnimationFrame(tick));
for (const name of ["seeked", "timeupdate", "pause", "ended"]) audio.addEventListener(name, light);
audio.addEventListener("error", () => ($("trouble").hidden = false));
if (audio.error) $("trouble").hidden = false;
let waiting = 0;
picture.addEventListener("scroll", () => (waiting ||= requestAnimationFrame(() => ((waiting = 0), draw()))));
addEventListener("resize", () => setZoom(zoom));

writeTranscript();
setZoom(Math.max(START_ZOOM, picture.clientWidth / file.duration_s));
