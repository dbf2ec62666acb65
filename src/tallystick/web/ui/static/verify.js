// The Verify page in the visitor's browser: ranges, files, and what this browser remembers of the log.
const proof = await import(document.querySelector("script[data-proof]").dataset.proof);
const { isBundle, verifyBundle } = await import(document.querySelector("script[data-bundle]").dataset.bundle);
const { Checkpoint, Key, canHash, readReceipt, verifyExport, verifyGrowth, verifyReceipt } = proof;

const number = new Intl.NumberFormat("en");
const REMEMBERED = "tallystick-checkpoint ";

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function list(title, lines) {
  if (!lines.length) return [];
  const made = element("ul", "", "findings");
  made.append(...lines.map((line) => element("li", line)));
  return [element("h3", title), made];
}

function show(into, report, name) {
  const words = {
    proven: ["✓ Proven by this browser", "good"],
    violated: ["✕ Violated", "bad"],
    unchecked: [`? Not checked${report.unchecked ? `: ${report.unchecked}` : ""}`, "warn"],
  }[report.unchecked && !report.violated.length ? "unchecked" : report.verdict];
  into.replaceChildren(
    element("p", name ? `${words[0]} · ${name}` : words[0], `verdict ${words[1]}`),
    ...list("Violated", report.violated), ...list("Proven", report.proven), ...list("Not proven", report.notProven),
  );
}

function progressIn(into, total) {
  const bar = element("progress");
  if (total) bar.max = total;
  const words = element("span", "", "soft");
  into.replaceChildren(bar, " ", words);
  let shown = 0;
  return (bytes, events) => {
    if (performance.now() - shown < 100) return;
    shown = performance.now();
    if (total) bar.value = bytes;
    words.textContent = `${number.format(events)} events, ${number.format(Math.round(bytes / 1024))} KiB`;
  };
}

const failed = (into, why) => into.replaceChildren(element("p", why, "note bad"));

async function pinnedKeys(texts) {
  return Promise.all(texts.map((one) => one.trim()).filter(Boolean).map((one) => Key.parse(one)));
}

// What this browser saw before: half of the tally, kept where the server cannot reach.

async function compareWithMemory(place) {
  const { origin, key, clock } = place.dataset;
  const text = document.getElementById("checkpoint-text").textContent;
  const now = new Checkpoint(text);
  await now.signedBy(await pinnedKeys([key, clock]));
  const kept = localStorage.getItem(REMEMBERED + origin);
  if (kept) {
    const before = JSON.parse(kept);
    const older = new Checkpoint(before.text);
    const when = new Date(before.at).toISOString().slice(0, 16).replace("T", " ");
    const seen = `This browser saw ${number.format(older.size)} events on ${when} UTC`;
    if (before.key !== key) throw new Error(`${seen}, signed by another key: ${before.key}. Ask whether the key was rotated.`);
    if (older.size > now.size) throw new Error(`${seen}; now there are ${number.format(now.size)}. Events were removed.`);
    const answer = await fetch(`/v1/log/proof/consistency?old=${older.size}&new=${now.size}`);
    if (!answer.ok) { place.textContent = `${seen}; whether they are the beginning of today's log could not be checked.`; return; }
    const { hashes } = await answer.json();
    if (!(await verifyGrowth(older, now, hashes))) throw new Error(`${seen}, and they are not the beginning of today's log: it was rewritten.`);
    place.textContent = `✓ ${seen}: they are still the beginning of this log.`;
    place.classList.add("good");
  } else {
    place.textContent = "This browser remembers this checkpoint from now on and will tell you if the log ever contradicts it.";
  }
  localStorage.setItem(REMEMBERED + origin, JSON.stringify({ text, key, at: Date.now() }));
}

const place = document.getElementById("remembered");
if (place?.dataset.origin && canHash()) {
  compareWithMemory(place).catch((error) => { place.classList.add("bad"); place.textContent = `✕ ${error.message}`; });
}

// A range, read and checked here.

const rangeResult = document.getElementById("range-result");
document.querySelector("[data-check-range]")?.addEventListener("click", async (click) => {
  const button = click.currentTarget;
  if (!canHash()) return failed(rangeResult, "Browsers check signatures on https and on localhost only.");
  button.disabled = true;
  try {
    const wanted = document.getElementById("wanted").value;
    const answer = await fetch(`/v1/export?format=jsonl${wanted === "all" ? "" : `&range=${encodeURIComponent(wanted)}`}`);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const keys = place ? await pinnedKeys([place.dataset.key, place.dataset.clock]) : [];
    const kept = place ? localStorage.getItem(REMEMBERED + place.dataset.origin) : null;
    const known = kept && wanted === "all" ? [{ label: "what this browser remembers", checkpoint: new Checkpoint(JSON.parse(kept).text) }] : [];
    show(rangeResult, await verifyExport(answer.body, { keys, known, progress: progressIn(rangeResult, 0) }));
  } catch (error) {
    failed(rangeResult, `The range could not be read: ${error.message}`);
  } finally {
    button.disabled = false;
  }
});

// A file, which never leaves this browser.

const fileResult = document.getElementById("file-result");

async function checkFiles(files) {
  if (!files.length) return;
  if (!canHash()) return failed(fileResult, "Browsers check signatures on https and on localhost only.");
  try {
    const keys = await pinnedKeys(document.getElementById("pinned").value.split("\n"));
    const kept = document.getElementById("kept").value;
    const known = kept.trim() ? [{ label: "the checkpoint you kept", checkpoint: checkpointIn(kept) }] : [];
    const reports = [];
    for (const file of files) {
      const part = element("div");
      fileResult.replaceChildren(...reports, part);
      show(part, await checkFile(file, keys, known, progressIn(part, file.size)), file.name);
      reports.push(part);
    }
  } catch (error) {
    failed(fileResult, error.message);
  }
}

function checkpointIn(text) {
  const whole = text.replaceAll("\r", "").replace(/\n*$/, "\n");
  return whole.startsWith("c2sp.org/tlog-proof@v1") ? readReceipt(whole).checkpoint : new Checkpoint(whole);
}

async function checkFile(file, keys, known, progress) {
  const start = await file.slice(0, 22).text();
  if (isBundle(start)) return verifyBundle(proof, file, { keys, known, progress });
  if (start !== "c2sp.org/tlog-proof@v1") return verifyExport(file.stream(), { keys, known, progress });
  if (file.size > 2 << 20) throw new Error("a receipt is never that long");
  return verifyReceipt(await file.text(), { keys });
}

const drop = document.getElementById("drop");
document.getElementById("files")?.addEventListener("change", (change) => checkFiles([...change.target.files]));
for (const name of ["dragenter", "dragover"]) drop?.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) drop?.addEventListener(name, () => drop.classList.remove("over"));
drop?.addEventListener("drop", (event) => { event.preventDefault(); checkFiles([...event.dataTransfer.files]); });
