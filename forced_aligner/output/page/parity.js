// The parity report: draws the histogram, and shows and plays the excerpt of a boundary when it is opened.
// Text is set by textContent alone.

const { spots, excerpts, bars } = JSON.parse(document.getElementById("data").textContent);
const chart = document.querySelector("#histogram svg");
const AROUND_S = 0.25; // is played before and after a boundary
const BAR_PX = 46, PLOT_PX = 150, LEFT_PX = 44, TOP_PX = 20, BOTTOM_PX = 24;

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

// ---- the histogram

function svg(name, attributes, text = "") {
  const made = document.createElementNS(chart.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function drawHistogram() {
  const most = Math.max(1, ...bars.map((bar) => bar.count));
  const height = (count) => (PLOT_PX * Math.log10(count + 1)) / Math.log10(most + 1);
  const width = LEFT_PX + bars.length * BAR_PX, bottom = TOP_PX + PLOT_PX;
  chart.setAttribute("width", width);
  chart.setAttribute("height", bottom + BOTTOM_PX);
  for (let count = 1; count <= most; count *= 10) {
    const y = bottom - height(count);
    chart.append(svg("line", { x1: LEFT_PX, x2: width, y1: y, y2: y }));
    chart.append(svg("text", { x: LEFT_PX - 6, y: y + 4, class: "tick" }, count));
  }
  for (const [number, bar] of bars.entries()) {
    const x = LEFT_PX + number * BAR_PX, top = bottom - height(bar.count);
    const place = { x: x + 4, y: top, width: BAR_PX - 8, height: bottom - top };
    const shape = svg("rect", { ...place, class: bar.same ? "same" : "" });
    shape.append(svg("title", {}, `${bar.label}: ${bar.count}`));
    chart.append(shape);
    if (bar.count) chart.append(svg("text", { x: x + BAR_PX / 2, y: top - 5 }, bar.count));
    chart.append(svg("text", { x: x + BAR_PX / 2, y: bottom + 16, class: "axis" }, bar.tick));
  }
  chart.append(svg("line", { x1: LEFT_PX, x2: width, y1: bottom, y2: bottom }));
}

// ---- the sound

let playing = null; // { audio, endS, head, durationS }

function stop() {
  playing?.audio.pause();
  playing = null;
}

/** Play a part of an excerpt; what plays already stops. */
function play(audio, head, durationS, startS, endS) {
  stop();
  audio.currentTime = Math.max(0, startS);
  playing = { audio, head, durationS, endS: Math.min(endS, durationS) };
  audio.play().catch(() => {}); // `error` tells of audio that cannot be played; a pause cuts a start off rightly
  requestAnimationFrame(watch);
}

/** Stop at the end of the part. A hidden page gets no frames, but `timeupdate`. */
function watch() {
  if (!playing) return;
  const { audio, head, durationS, endS } = playing;
  head.style.left = `${(100 * Math.min(audio.currentTime, endS)) / durationS}%`;
  if (audio.currentTime >= endS || audio.ended) stop();
  else requestAnimationFrame(watch);
}

// ---- a boundary

function makeLane(side, words, spot, durationS) {
  const lane = element("div", `lane side-${side}`);
  for (const [index, text, startS, endS] of words) {
    const word = element("span", index === spot.word ? "word lit" : "word", text);
    word.title = text;
    word.style.left = `${(100 * startS) / durationS}%`;
    word.style.width = `${Math.max((100 * (endS - startS)) / durationS, 0.2)}%`;
    lane.append(word);
  }
  return lane;
}

function makeStrip(spot, excerpt) {
  const strip = element("div", "strip"), mel = element("div", "mel"), picture = element("img");
  strip.dir = "ltr";
  for (const [side, words] of excerpt.sides.entries()) strip.append(makeLane(side, words, spot, excerpt.duration_s));
  picture.alt = "Mel spectrogram of the excerpt, with a line at the boundary of each side";
  picture.src = excerpt.mel;
  mel.append(picture);
  for (const [side, atS] of spot.at_s.entries()) {
    const line = element("i", `side-${side}`);
    line.style.left = `${(100 * atS) / excerpt.duration_s}%`;
    line.hidden = atS < 0 || atS > excerpt.duration_s;
    mel.append(line);
  }
  strip.append(mel, element("div", "head"));
  return strip;
}

function makeButton(text, description, action) {
  const button = element("button", "", `\u25b6 ${text}`);
  button.title = description;
  button.setAttribute("aria-label", description);
  button.type = "button";
  button.addEventListener("click", action);
  return button;
}

/** Fill a boundary's element when it is opened for the first time. */
function show(details) {
  const spot = spots[details.dataset.index], excerpt = excerpts[spot.excerpt];
  if (!excerpt || details.querySelector("audio")) return;
  const audio = element("audio"), box = element("div", "excerpt"), strip = makeStrip(spot, excerpt);
  const head = strip.querySelector(".head"), durationS = excerpt.duration_s;
  audio.preload = "auto";
  audio.src = excerpt.audio;
  audio.addEventListener("error", () => (document.getElementById("trouble").hidden = false));
  audio.addEventListener("timeupdate", watch);
  for (const row of details.querySelectorAll("[data-side]")) {
    const atS = spot.at_s[row.dataset.side], cell = element("td");
    if (atS >= 0 && atS <= durationS) {
      const what = `Play half a second around the boundary of ${row.cells[0].textContent}`;
      cell.append(makeButton("\u00bd s", what, () => play(audio, head, durationS, atS - AROUND_S, atS + AROUND_S)));
    }
    row.append(cell);
  }
  details.querySelector(".times thead tr").append(element("td"));
  const playAll = () => play(audio, head, durationS, 0, durationS);
  const all = makeButton(`all ${durationS.toFixed(1)} s`, "Play the whole excerpt", playAll);
  strip.addEventListener("click", (event) => {
    const frame = strip.getBoundingClientRect();
    play(audio, head, durationS, (durationS * (event.clientX - frame.left)) / frame.width, durationS);
  });
  box.append(strip);
  details.append(all, box, audio);
  box.scrollLeft = (strip.clientWidth * spot.at_s[0]) / durationS - box.clientWidth / 2;
}

document.addEventListener("toggle", (event) => {
  if (!event.target.matches?.(".spot")) return;
  if (event.target.open) show(event.target);
  else if (event.target.contains(playing?.audio ?? null)) stop();
}, true);

drawHistogram();
