// An evidence bundle checked by the visitor's own browser: the zip's one spelling, the export in it, and the seal by which the
// log took the manifest in. Format: docs/reference/evidence-bundle.md. Everything about the log itself is proof.js's.

const ORDER = ["README.txt", "report.html", "report.pdf", "controls.json", "checkpoints.jsonl", "export.jsonl", "removed.jsonl",
  "manifest.json", "issued.json"];
const MAY_BE_ABSENT = ["report.pdf", "controls.json"];
const OWN = "checkpoints.jsonl line ";
const TEXT_MAX = 4 << 20;
const FILE_MAX = 1 << 30; // what is hashed as a whole; larger ones are for the command line
const WIDE = 0xffffffff;
const DAY_ONE = 0x21; // 1 January 1980
const MODE = 0x81a40000; // an ordinary file

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const isBundle = (start) => start.startsWith("PK\u0003\u0004");

class Refusal extends Error {}

function must(holds, otherwise) {
  if (!holds) throw new Refusal(otherwise);
}

const viewOf = async (file, from, to) => new DataView(await file.slice(from, to).arrayBuffer());

// Returns {name: Blob} once every byte between the files is where bundles have it.
async function entriesOf(file) {
  must(file.size >= 22, "it breaks off");
  const end = await viewOf(file, file.size - 22, file.size);
  must(end.getUint32(0, true) === 0x06054b50 && end.getUint16(20, true) === 0, "it has no end, or something follows it");
  const [count, size, begin] = [end.getUint16(10, true), end.getUint32(12, true), end.getUint32(16, true)];
  must(begin !== WIDE && file.size < WIDE, "it is too large for a browser. Use: tallystick verify");
  must(end.getUint32(4, true) === 0 && end.getUint16(8, true) === count && count <= ORDER.length, "it has entries that no bundle has");
  must(begin + size + 22 === file.size, "something stands between its files and its end");
  const directory = await viewOf(file, begin, begin + size);
  const found = {};
  const crcs = new Map();
  let [at, place] = [0, 0];
  for (let entry = 0; entry < count; entry += 1) {
    must(at + 46 <= size && directory.getUint32(at, true) === 0x02014b50, "its directory cannot be read");
    const length = directory.getUint16(at + 28, true);
    must(at + 46 + length <= size, "its directory cannot be read");
    const name = decoder.decode(new Uint8Array(directory.buffer, at + 46, length));
    const bytes = directory.getUint32(at + 24, true);
    const crc = directory.getUint32(at + 16, true);
    const spelled = numbers([4, 0x02014b50], [2, 0x0314], [2, 20], [2, 0], [2, 0], [2, 0], [2, DAY_ONE], [4, crc], [4, bytes],
      [4, bytes], [2, length], [2, 0], [2, 0], [2, 0], [2, 0], [4, MODE], [4, place]);
    must(equal(directory, at, spelled) && bytes !== WIDE && !(name in found), `the entry ${name} is not stored as bundles store it`);
    const head = await viewOf(file, place, place + 30 + length);
    const local = numbers([4, 0x04034b50], [2, 20], [2, 0], [2, 0], [2, 0], [2, DAY_ONE], [4, crc], [4, bytes], [4, bytes], [2, length], [2, 0]);
    const same = head.byteLength === 30 + length && equal(head, 0, local) && decoder.decode(new Uint8Array(head.buffer, 30)) === name;
    must(same, `the entry ${name} says another thing in front of its bytes than in the directory`);
    crcs.set(name, crc);
    found[name] = file.slice(place + 30 + length, place + 30 + length + bytes);
    place += 30 + length + bytes;
    at += 46 + length;
  }
  must(at === size && place === begin, "something stands between its files");
  const names = Object.keys(found);
  const wanted = ORDER.filter((name) => name in found || !MAY_BE_ABSENT.includes(name));
  must(names.join() === wanted.join(), `it holds ${names.join(", ")}, not ${wanted.join(", ")}`);
  for (const name of ["checkpoints.jsonl", "manifest.json", "issued.json"]) {
    must(found[name].size <= TEXT_MAX, `${name} is longer than it ever is`);
    must(crc32(new Uint8Array(await found[name].arrayBuffer())) === crcs.get(name), `the bytes of ${name} are not those it was made of`);
  }
  return found;
}

// Numbers in little-endian bytes: [[how many bytes, value], …].
function numbers(...given) {
  const made = new DataView(new ArrayBuffer(given.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of given) {
    if (size === 2) made.setUint16(at, value, true);
    else made.setUint32(at, value, true);
    at += size;
  }
  return made;
}

function equal(view, at, wanted) {
  for (let byte = 0; byte < wanted.byteLength; byte += 1) if (view.getUint8(at + byte) !== wanted.getUint8(byte)) return false;
  return true;
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ -1) >>> 0;
}

async function hexOf(blob) {
  must(blob.size <= FILE_MAX, "a file of it is too large for a browser. Use: tallystick verify");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function textOf(files, name) {
  must(files[name].size <= TEXT_MAX, `${name} is longer than it ever is`);
  try { return decoder.decode(await files[name].arrayBuffer()); } catch { throw new Refusal(`${name} is not UTF-8`); }
}

function json(text, name) {
  try { return JSON.parse(text); } catch { throw new Refusal(`${name} cannot be read`); }
}

// Returns the proof's report of the bundle `file`; `proof` is the module proof.js.
export async function verifyBundle(proof, file, { keys = [], known = [], progress = () => {} } = {}) {
  const report = new proof.Report();
  try {
    const files = await entriesOf(file);
    const notes = (await textOf(files, "checkpoints.jsonl")).split("\n").slice(0, -1);
    const own = notes.map((line, at) => ({ label: OWN + (at + 1), checkpoint: new proof.Checkpoint(json(line, "checkpoints.jsonl").checkpoint) }));
    const found = await proof.verifyExport(files["export.jsonl"].stream(), { keys, known: [...known, ...own], progress });
    for (const what of found.violated) report.violate("export.jsonl", what);
    if (found.unchecked) report.violate("export.jsonl", found.unchecked);
    report.proven.push(...found.proven.filter((line) => !line.startsWith(OWN)));
    for (const line of found.notProven) {
      if (line.startsWith(OWN)) report.violate("checkpoints.jsonl", line);
      else report.notProven.push(line);
    }
    if (own.length && !known.length) report.notProven.push("that nothing was rolled back or rewritten with the log's own key: no checkpoint you kept was given");
    if (!found.unchecked) await checkSeal(proof, report, files, keys);
  } catch (error) {
    if (error instanceof DOMException) throw error; // the file could not be read
    const known = error instanceof Refusal || error instanceof proof.Broken;
    report.violate("the bundle", known ? error.message : `a part of it has not the shape it must have (${error.message})`);
  }
  return report;
}

async function checkSeal(proof, report, files, keys) {
  const header = json(await firstLine(files["export.jsonl"]), "export.jsonl");
  const manifestText = await textOf(files, "manifest.json");
  const manifest = json(manifestText, "manifest.json");
  must(`${JSON.stringify(manifest)}\n` === manifestText, "manifest.json is not spelled as the log spells it");
  must(manifest.format === "tallystick-evidence" && manifest.version === 1, "its manifest is none known here");
  const names = Object.keys(files).slice(0, -2);
  must(manifest.entries.map((one) => one.name).join() === names.join(), "its manifest names other files than stand here");
  for (const one of manifest.entries) {
    must(files[one.name].size === one.bytes && (await hexOf(files[one.name])) === one.sha256, `${one.name} is not what the manifest says`);
  }
  const said = [manifest.origin, manifest.question.filter, manifest.keys, manifest.found.start, manifest.found.end, manifest.found.size];
  const there = [header.origin, header.filter, header.keys, header.start, header.end, header.size];
  must(JSON.stringify(said) === JSON.stringify(there), "its manifest speaks of another export");

  const seal = await textOf(files, "issued.json");
  const cut = seal.lastIndexOf(',"receipt":"'); // in what follows no text holds a quotation mark
  must(seal.startsWith('{"line":') && cut > 0, "issued.json is not a seal");
  const line = seal.slice(8, cut);
  const { receipt, consistency } = json(`{${seal.slice(cut + 1)}`, "issued.json");
  const named = await Promise.all(header.keys.map((one) => proof.Key.parse(one)));
  const found = await proof.verifyReceipt(receipt, { line, keys, named });
  for (const what of found.violated) report.violate("issued.json", what);
  must(!found.unchecked, `issued.json: ${found.unchecked}`);
  const event = json(line, "issued.json");
  const { action, stream, source, outcome, origin } = event.leaf;
  must([action, stream, source, outcome, origin].join(" ") === `evidence.issued tallystick tallystick success ${header.origin}`, "the event of the seal is not one by which a log issues a bundle");
  must(event.position >= header.size, "the event of the seal is older than the export");
  const sha256 = await hexOf(files["manifest.json"]);
  must(event.opening.metadata?.manifest_sha256 === sha256, "the log sealed another manifest than this one");
  must(event.opening["actor/id"] === manifest.question.asked_by.id, "somebody else asked for it than the manifest says");
  const older = new proof.Checkpoint(header.checkpoint);
  must(await proof.verifyGrowth(older, proof.readReceipt(receipt).checkpoint, consistency), "the log of the seal does not continue the export's");
  if (report.violated.length) return;
  const asker = manifest.question.asked_by.name || manifest.question.asked_by.id;
  report.proven.push(`question, report, catalogue and every other file: as they were when the log sealed this bundle, on ${event.leaf.received_at.slice(0, 19).replace("T", " ")} UTC for ${asker}`);
  report.notProven.push("that the printable report sums the export up well: it is the server's text, sealed with the bundle");
}

async function firstLine(blob) {
  for (let size = 1 << 14; ; size *= 2) {
    const text = new TextDecoder().decode(await blob.slice(0, size).arrayBuffer());
    const cut = text.indexOf("\n");
    if (cut >= 0) return text.slice(0, cut);
    must(size < blob.size && size <= TEXT_MAX, "its export has no first line");
  }
}
