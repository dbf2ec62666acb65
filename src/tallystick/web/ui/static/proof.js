// What proves a log, checked by the visitor's own browser: exports, receipts, events and consistency. It asks the
// server nothing and believes it nothing but the key, unless a key is given. Formats: docs/reference/export-format.md,
// RFC 6962, c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof.

export class Broken extends Error {}

const encoder = new TextEncoder();
const LINE_MAX = 4 << 20;
const VIOLATIONS_MAX = 20;

export const canHash = () => Boolean(globalThis.crypto?.subtle);

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of parts) { whole.set(one, at); at += one.length; }
  return whole;
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(parts)));
}

const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const hex = (raw) => Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");

function unhex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Broken("this is not hexadecimal");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function base64(raw) {
  let text = "";
  for (const byte of raw) text += String.fromCharCode(byte);
  return btoa(text);
}

// Base64 in its one canonical spelling, of `size` bytes.
function unbase64(text, size) {
  let raw;
  try { raw = Uint8Array.from(atob(text), (char) => char.charCodeAt(0)); } catch { throw new Broken("this is not base64"); }
  if (base64(raw) !== text || (size !== undefined && raw.length !== size)) throw new Broken("this base64 has another length or spelling");
  return raw;
}

const url64 = (raw) => base64(raw).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

function unurl64(text) {
  const padded = text.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat((4 - (text.length % 4)) % 4);
  return unbase64(padded);
}

// JSON that loses nothing: numbers keep their digits, a key stands once, and each value of the outermost object
// comes with the text it was written as.

class Digits { constructor(text) { this.text = text; } }

class Reader {
  constructor(text) { this.text = text; this.at = 0; }

  fail() { throw new Broken("this is not JSON as the log writes it"); }

  take(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) this.fail();
    this.at = pattern.lastIndex;
    return found[0];
  }

  string() { return JSON.parse(this.take(/"(?:[^"\\\u0000-\u001f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"/y)); }

  value(depth = 0) {
    if (depth > 250) this.fail();
    switch (this.text[this.at]) {
      case "{": return this.object(depth);
      case "[": return this.list(depth);
      case '"': return this.string();
      case "t": this.take(/true/y); return true;
      case "f": this.take(/false/y); return false;
      case "n": this.take(/null/y); return null;
      default: return new Digits(this.take(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y));
    }
  }

  list(depth) {
    const found = [];
    this.take(/\[/y);
    if (this.text[this.at] !== "]") {
      do found.push(this.value(depth + 1)); while (this.next(","));
    }
    this.take(/\]/y);
    return found;
  }

  next(mark) {
    if (this.text[this.at] !== mark) return false;
    this.at += 1;
    return true;
  }

  object(depth, spans) {
    const found = new Map();
    this.take(/\{/y);
    if (this.text[this.at] !== "}") {
      do {
        const key = this.string();
        this.take(/:/y);
        if (found.has(key)) this.fail();
        const start = this.at;
        found.set(key, this.value(depth + 1));
        spans?.set(key, this.text.slice(start, this.at));
      } while (this.next(","));
    }
    this.take(/\}/y);
    return found;
  }
}

function readJson(text) {
  const reader = new Reader(text);
  const found = reader.value();
  if (reader.at !== text.length) reader.fail();
  return found;
}

// The values of an object, each as the text it was written as.
function spansOf(text) {
  const reader = new Reader(text);
  const spans = new Map();
  reader.object(0, spans);
  if (reader.at !== text.length) reader.fail();
  return spans;
}

function equal(a, b) {
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && equal(value, b.get(key)));
  }
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, at) => equal(one, b[at]));
  if (a instanceof Digits && b instanceof Digits) return a.text === b.text;
  return typeof a !== "object" && typeof b !== "object" ? a === b : a === null && b === null;
}

// Signed checkpoints.

export class Key {
  static async parse(text) {
    const key = new Key();
    const [name, id, ...rest] = text.trim().split("+");
    const raw = unbase64(rest.join("+"), 33);
    const wanted = hex((await sha256(encoder.encode(name + "\n"), raw)).slice(0, 4));
    if ((raw[0] !== 1 && raw[0] !== 4) || wanted !== id) throw new Broken("this is not a verifier key (name+id+base64)");
    try {
      key.handle = await crypto.subtle.importKey("raw", raw.slice(1), "Ed25519", false, ["verify"]);
    } catch {
      throw new Broken("this browser cannot check Ed25519 signatures; use `tallystick verify`");
    }
    return Object.assign(key, { name, id, text: text.trim(), isClock: raw[0] === 4 });
  }

  // Returns the seconds a clock signed with, or null.
  async check(text, signature) {
    let [message, seconds] = [encoder.encode(text), null];
    if (this.isClock) {
      if (signature.length !== 72) throw new Broken(`the signature of ${this.name} has another length`);
      seconds = Number(new DataView(signature.buffer, signature.byteOffset).getBigUint64(0));
      message = joined([encoder.encode(`cosignature/v1\ntime ${seconds}\n`), message]);
      signature = signature.slice(8);
    }
    if (!(await crypto.subtle.verify("Ed25519", this.handle, signature, message))) {
      throw new Broken(`the signature of ${this.name} does not fit this checkpoint`);
    }
    return seconds;
  }
}

export class Checkpoint {
  constructor(note) {
    const cut = note.lastIndexOf("\n\n");
    const lines = note.slice(0, cut).split("\n");
    if (cut < 0 || !note.endsWith("\n") || lines.length < 3 || !/^(0|[1-9][0-9]{0,14})$/.test(lines[1])) {
      throw new Broken("this is not a signed checkpoint");
    }
    Object.assign(this, { text: note.slice(0, cut + 1), origin: lines[0], size: Number(lines[1]), root: unbase64(lines[2], 32) });
    this.signatures = note.slice(cut + 2, -1).split("\n").map((line) => {
      const found = /^— ([^\s+]+) (\S+)$/u.exec(line);
      if (!found) throw new Broken("a line of signatures cannot be read");
      const raw = unbase64(found[2]);
      return { name: found[1], id: hex(raw.slice(0, 4)), signature: raw.slice(4) };
    });
  }

  // Returns {names: the log keys that signed, at: the clock's Date or null}; every signature of a given key must be good.
  async signedBy(keys) {
    const names = [];
    let at = null;
    for (const { name, id, signature } of this.signatures) {
      for (const key of keys.filter((one) => one.name === name && one.id === id)) {
        const seconds = await key.check(this.text, signature);
        if (key.isClock) at = new Date(seconds * 1000);
        else names.push(`${name}+${id}`);
      }
    }
    for (const clock of keys.filter((one) => one.isClock)) {
      if (!this.signatures.some((one) => one.name === clock.name && one.id === clock.id)) {
        throw new Broken(`the clock ${clock.name} did not sign it`);
      }
    }
    if (!names.length) throw new Broken("no key you trust signed it");
    return { names, at };
  }
}

// The tree (RFC 6962).

const ONE = Uint8Array.of(1);
const ZERO = Uint8Array.of(0);
const node = (left, right) => sha256(ONE, left, right);

class Tree {
  size = 0;
  peaks = []; // [leaves, root], largest first

  async add(root, leaves = 1) {
    if (this.size % leaves) throw new Broken("a subtree of the proof does not fit its place");
    this.size += leaves;
    while (this.peaks.length && this.peaks.at(-1)[0] === leaves) {
      root = await node(this.peaks.pop()[1], root);
      leaves *= 2;
    }
    this.peaks.push([leaves, root]);
  }

  async root() {
    if (!this.peaks.length) return sha256();
    let found = this.peaks.at(-1)[1];
    for (let at = this.peaks.length - 2; at >= 0; at -= 1) found = await node(this.peaks[at][1], found);
    return found;
  }
}

const below = (size) => 2 ** Math.floor(Math.log2(size));

// The sizes of the largest complete subtrees that cover [start, end), left to right.
function subtrees(start, end) {
  const sizes = [];
  while (start < end) {
    let size = below(end - start);
    while (start % size) size /= 2;
    sizes.push(size);
    start += size;
  }
  return sizes;
}

// The root that an inclusion proof leads to (RFC 6962, 2.1.1), or an empty array.
async function rootBy(leafHash, index, size, path) {
  if (size === 1 || !path.length) return size === 1 && !path.length ? leafHash : new Uint8Array();
  const half = below(size - 1);
  const rest = path.slice(0, -1);
  return index < half
    ? node(await rootBy(leafHash, index, half, rest), path.at(-1))
    : node(path.at(-1), await rootBy(leafHash, index - half, size - half, rest));
}

// Tells whether `hashes` prove that the log of `old` leaves is the beginning of that of `size` (RFC 9162, 2.1.4.2).
export async function isConsistent(old, oldRoot, size, root, hashes) {
  if (old === size) return !hashes.length && same(oldRoot, root);
  if (old === 0) return !hashes.length;
  const path = Number.isInteger(Math.log2(old)) ? [oldRoot, ...hashes] : [...hashes];
  if (old > size || !path.length) return false;
  let [first, last] = [old - 1, size - 1];
  const up = () => { first = Math.floor(first / 2); last = Math.floor(last / 2); };
  while (first % 2) up();
  let [before, after] = [path[0], path[0]];
  for (const hash of path.slice(1)) {
    if (last === 0) return false;
    if (first % 2 || first === last) {
      before = await node(hash, before);
      after = await node(hash, after);
      while (first && !(first % 2)) up();
    } else {
      after = await node(after, hash);
    }
    up();
  }
  return last === 0 && same(before, oldRoot) && same(after, root);
}

// What is sealed beside a leaf, and the event as people read it.

const SALT = encoder.encode("tallystick/salt/1\0");
const FIELD = encoder.encode("tallystick/field/1\0");
const SEALED = encoder.encode("tallystick/sealed/1\0");

function byBytes(a, b) {
  const [left, right] = [encoder.encode(a), encoder.encode(b)];
  for (let at = 0; at < Math.min(left.length, right.length); at += 1) if (left[at] !== right[at]) return left[at] - right[at];
  return left.length - right.length;
}

async function commitOf(path, value, salt) {
  const name = encoder.encode(path);
  const length = Uint8Array.of(name.length >> 8, name.length & 255);
  const used = salt.length === 16 ? salt : (await sha256(SALT, salt.seed, name)).slice(0, 16);
  return sha256(FIELD, used, length, name, encoder.encode(value));
}

async function sealedDigest(opening, seedText) {
  const commits = new Map();
  const erased = opening.has("$erased") ? readJson(opening.get("$erased")) : new Map();
  const kept = [...opening].filter(([path]) => path !== "$erased");
  const seed = readJson(seedText);
  if (erased.size ? !(seed instanceof Map) || seed.size !== kept.length : typeof seed !== "string" || seed.length !== 32) {
    throw new Broken("values, salts and erased values do not belong together");
  }
  await Promise.all(kept.map(async ([path, value]) => {
    if (erased.has(path) || (erased.size && !seed.has(path))) throw new Broken("a value is both erased and present");
    commits.set(path, await commitOf(path, value, erased.size ? unurl64(seed.get(path)) : { seed: unhex(seed) }));
  }));
  for (const [path, commit] of erased) commits.set(path, unurl64(commit));
  const ordered = [...commits.keys()].sort(byBytes).map((path) => commits.get(path));
  return { digest: url64(await sha256(SEALED, ...ordered)), erased: [...erased.keys()].sort(byBytes) };
}

function picked(from, names) {
  return new Map(names.filter((name) => from.has(name)).map((name) => [name, from.get(name)]));
}

function readable(leaf, values, erased, position) {
  const clear = (part) => picked(part, ["type", "credential_id", "roles"]);
  const under = (prefix, names) => names.filter((name) => values.has(prefix + name)).map((name) => [name, values.get(prefix + name)]);
  const actor = new Map([...clear(leaf.get("actor")), ...under("actor/", ["id", "name", "email"])]);
  const chain = leaf.get("actor").get("on_behalf_of") ?? [];
  if (chain.length) {
    actor.set("on_behalf_of", chain.map((one, at) => new Map([...clear(one), ...(values.get(`actor/on_behalf_of/${at}`) ?? [])])));
  }
  const targets = [...(leaf.get("targets") ?? []), ...(values.get("targets/rest") ?? [])].map((one, at) =>
    new Map([...picked(one, ["type", "id"]), ...under(`targets/${at}/`, ["name"])]));
  const context = new Map(under("context/", ["ip", "user_agent", "session_id", "trace_id", "http", "location"]));
  if (leaf.has("request_id")) context.set("request_id", leaf.get("request_id"));
  const event = picked(leaf, ["id", "action", "outcome", "stream", "workspace", "occurred_at", "received_at", "source"]);
  event.set("position", new Digits(String(position)));
  event.set("organization", leaf.get("origin").split("/o/").at(-1));
  event.set("actor", actor);
  event.set("targets", targets);
  if (context.size) event.set("context", context);
  for (const name of ["error", "before", "after", "metadata", "redacted", "flags"]) if (values.has(name)) event.set(name, values.get(name));
  if (leaf.has("producer")) event.set("producer", leaf.get("producer"));
  if (erased.length) event.set("erased", erased.map((path) => "/" + path));
  return event;
}

// Checks one line of an event or record; returns its position, leaf hash, what is wrong with it, leaf, erased paths, metadata.
async function checkLine(spans) {
  const leafText = spans.get("leaf");
  const position = Number(spans.get("position") ?? spans.get("record"));
  const leafHash = await sha256(ZERO, encoder.encode(leafText));
  const wrong = [];
  let [leaf, erased, metadata] = [new Map(), [], "{}"];
  try {
    leaf = readJson(leafText);
    const opening = spansOf(spans.get("opening"));
    if (!equal([...opening.keys()], [...opening.keys()].sort(byBytes))) wrong.push("the sealed values are not in order");
    const sealed = await sealedDigest(opening, spans.get("seed"));
    erased = sealed.erased;
    if (sealed.digest !== leaf.get("sealed")) wrong.push("a sealed value, its salt or the seed was changed");
    opening.delete("$erased");
    metadata = opening.get("metadata") ?? "{}";
    const values = new Map([...opening].map(([path, value]) => [path, readJson(value)]));
    if (spans.has("event") && !equal(readJson(spans.get("event")), readable(leaf, values, erased, position))) {
      wrong.push("the readable event does not say what was sealed");
    }
    if (leaf.get("v")?.text !== "1") wrong.push("this is an event of a version unknown here");
  } catch (error) {
    wrong.push(`it cannot be read: ${error.message}`);
  }
  return { position, leafHash, wrong, leaf, erased, metadata };
}

export class Report {
  proven = [];
  notProven = [];
  violated = [];
  facts = {};
  #more = 0;

  violate(where, what) {
    if (this.violated.length < VIOLATIONS_MAX) this.violated.push(`${where}: ${what}`);
    else {
      this.#more += 1;
      this.violated[VIOLATIONS_MAX] = `… and ${this.#more} more`;
    }
  }

  get verdict() { return this.violated.length ? "violated" : this.proven.length ? "proven" : "unchecked"; }
}

const FULL = ["position", "event", "opening", "seed", "leaf"];
const BARE = ["position", "count", "leaf_hashes"];
const GONE = ["position", "count", "removed", "leaf_hashes"];
const RECORD = ["record", "opening", "seed", "proof", "leaf"];
const LAST = ["events", "bare", "header_sha256"];
const HEADER = ["format", "version", "origin", "organization", "filter", "start", "end", "size", "created_at", "keys", "checkpoint", "left", "right"];

// Checks a checkpoint with pinned keys, or with those the subject names; returns the keys that count.
async function trusted(report, checkpoint, pinned, named) {
  const logs = pinned.filter((key) => !key.isClock);
  const clocks = pinned.filter((key) => key.isClock);
  const keys = [
    ...(logs.length ? logs : named.filter((key) => !key.isClock)),
    ...(clocks.length ? clocks : named.filter((key) => key.isClock)),
  ];
  try {
    const { names, at } = await checkpoint.signedBy(keys);
    const when = at ? `, at ${at.toISOString().replace(".000Z", "Z")} by its clock` : "";
    report.proven.push(`the checkpoint of ${checkpoint.size} events is signed by ${names.join(", ")}${when}`);
  } catch (error) {
    report.violate("the checkpoint", error.message);
  }
  if (!logs.length) report.notProven.push("that the key is the log's own: it came with what it proves. Give a key you have from elsewhere");
  return keys;
}

class ExportCheck {
  constructor(report, pinned, known) {
    Object.assign(this, { report, pinned, known, tree: new Tree(), events: 0, bare: 0, receivedAt: "", last: null, met: new Set() });
    Object.assign(this, { gone: [], lost: [], covered: [], said: new Map() });
  }

  async open(line) {
    this.headerHash = hex(await sha256(encoder.encode(line + "\n")));
    const header = (this.header = JSON.parse(line));
    if (header.format !== "tallystick-export" || header.version !== 1) throw new Broken("this is not a JSONL export of Tallystick, version 1");
    if (JSON.stringify(Object.keys(header)) !== JSON.stringify(HEADER) || JSON.stringify(header) !== line) {
      throw new Broken("the first line is not spelled as the log spells it");
    }
    const checkpoint = (this.checkpoint = new Checkpoint(header.checkpoint));
    const named = await Promise.all(header.keys.map((text) => Key.parse(text)));
    await trusted(this.report, checkpoint, this.pinned, named);
    const ids = (list) => list.map((one) => `${one.name}+${one.id}`).sort().join(" ");
    if (ids(named) !== ids(checkpoint.signatures)) this.report.violate("line 1", "the keys it names are not those that signed");
    const fits = checkpoint.origin === header.origin && checkpoint.size === header.size && header.origin.split("/o/").at(-1) === header.organization;
    if (!fits || !(header.start >= 0 && header.start <= header.end && header.end <= header.size)) {
      this.report.violate("line 1", "header and checkpoint do not speak of the same log");
    }
    await this.meet();
    await this.addAll(0, header.start, header.left);
  }

  async addAll(start, end, roots) {
    const sizes = subtrees(start, end);
    if (sizes.length !== roots.length) throw new Broken("the subtrees beside the range are not as many as they must be");
    for (const [at, leaves] of sizes.entries()) {
      await this.tree.add(unbase64(roots[at], 32), leaves);
      await this.meet();
    }
  }

  async meet() {
    for (const one of this.known) {
      if (one.checkpoint.size !== this.tree.size || one.checkpoint.origin !== this.header.origin || this.met.has(one)) continue;
      this.met.add(one);
      if (same(await this.tree.root(), one.checkpoint.root)) {
        this.report.proven.push(`${one.label}: its ${this.tree.size} events are the beginning of this log`);
      } else {
        this.report.violate(one.label, `the first ${this.tree.size} events are not those it was signed for`);
      }
    }
  }

  async leaf(hash) {
    await this.tree.add(hash);
    if (this.known.length) await this.meet();
  }

  // Takes lines after the first; full lines are checked side by side, then put into the tree in order.
  async take(lines, number) {
    const read = await Promise.all(lines.map(async (line) => {
      try {
        const spans = spansOf(line);
        const names = [...spans.keys()].join();
        if (names === FULL.join()) return { full: await checkLine(spans) };
        if (names === BARE.join() || names === GONE.join()) return { bare: spans };
        if (names === RECORD.join()) return { record: spans, full: await checkLine(spans) };
        if (names === LAST.join()) return { last: JSON.parse(line) };
        return { wrong: "this is neither an event nor bare hashes" };
      } catch (error) {
        return { wrong: error.message };
      }
    }));
    for (const [at, one] of read.entries()) await this.put(one, `line ${number + at}`);
  }

  async put({ full, record, bare, last, wrong }, where) {
    if (this.last) this.report.violate(where, "something follows the last line");
    else if (wrong) this.report.violate(where, wrong);
    else if (last) this.last = last;
    else if (bare) await this.putBare(bare, where);
    else if (record) await this.putRecord(record, full, where);
    else await this.putFull(full, where);
  }

  place(position, where) {
    if (position !== this.tree.size) this.report.violate(where, `position ${this.tree.size} must stand here`);
  }

  async putBare(spans, where) {
    this.place(Number(spans.get("position")), where);
    let hashes;
    try { hashes = unbase64(JSON.parse(spans.get("leaf_hashes"))); } catch (error) { this.report.violate(where, error.message); return; }
    if (!hashes.length || hashes.length > 256 * 32 || hashes.length !== Number(spans.get("count")) * 32) {
      this.report.violate(where, "these are not as many hashes as it says");
      return;
    }
    if (spans.get("removed") === "true") this.gone.push([this.tree.size, hashes.length / 32]);
    else if (spans.has("removed")) this.report.violate(where, "this is not spelled as the log spells it");
    else if (!this.header.filter) this.report.violate(where, "events are missing, and nothing says that they were removed");
    this.bare += hashes.length / 32;
    for (let at = 0; at < hashes.length; at += 32) await this.leaf(hashes.slice(at, at + 32));
  }

  async putFull(line, where) {
    this.place(line.position, where);
    for (const what of line.wrong) this.report.violate(where, what);
    for (const path of line.erased) this.lost.push([line.position, path]);
    this.account(line);
    if (line.leaf.get("origin") !== this.header.origin) this.report.violate(where, "this event is of another log");
    const receivedAt = line.leaf.get("received_at") ?? "";
    if (receivedAt < this.receivedAt) this.report.violate(where, "received before the event in front of it");
    this.receivedAt = receivedAt;
    this.events += 1;
    await this.leaf(line.leafHash);
  }

  // A record stands behind the range, with its own proof.
  async putRecord(spans, line, where) {
    for (const what of line.wrong) this.report.violate(where, what);
    let root = null;
    try {
      const path = JSON.parse(spans.get("proof")).map((one) => unbase64(one, 32));
      root = await rootBy(line.leafHash, line.position, this.header.size, path);
    } catch (error) { this.report.violate(where, error.message); }
    const isHere = root && same(root, this.checkpoint.root) && this.tree.size === this.header.end;
    if (!isHere) this.report.violate(where, "this record is not of this log");
    else this.account(line);
  }

  // Notes what an event of the log about itself says it took away; it speaks of what came before it.
  account({ position, leaf, metadata, wrong }) {
    if (wrong.length || leaf.get("stream") !== "tallystick" || leaf.get("source") !== "tallystick" || leaf.get("outcome") !== "success") return;
    const cut = (ranges) => ranges.map(([first, count]) => [first, Math.min(count, position - first)]);
    if (leaf.get("action") === "retention.pruned") {
      for (const part of JSON.parse(metadata).parts ?? []) this.covered.push(...cut(part.positions));
    }
    if (leaf.get("action") === "privacy.erased") {
      const { removed = [], fields = [] } = JSON.parse(metadata);
      this.covered.push(...cut(removed));
      for (const { paths, positions } of fields) {
        for (const path of paths) this.said.set(path, [...(this.said.get(path) ?? []), ...cut(positions)]);
      }
    }
  }

  settle() {
    const { report } = this;
    for (const [first, count] of this.gone) {
      if (!covers(this.covered, first, count)) report.violate(`position ${first}`, `${count} events are gone and no record says why`);
    }
    for (const [position, path] of this.lost) {
      if (!covers(this.said.get(path) ?? [], position, 1)) report.violate(`position ${position}`, `${path} was erased and no record says why`);
    }
    if (this.gone.length || this.lost.length) {
      report.notProven.push("that policies and holds allowed what the records removed: `tallystick verify` checks that");
    }
  }

  async close() {
    const { report, header } = this;
    this.settle();
    const last = this.last;
    if (!last || last.events !== this.events || last.bare !== this.bare || last.header_sha256 !== this.headerHash) {
      report.violate("the end", "the last line is missing, or counts something else than stands here");
    }
    if (this.tree.size !== header.end) report.violate("the end", `it ends at position ${this.tree.size}, not at ${header.end}`);
    else {
      await this.addAll(header.end, header.size, header.right);
      if (!same(await this.tree.root(), this.checkpoint.root)) report.violate("the whole", "these events do not lead to the root that was signed");
    }
    for (const one of this.known.filter((known) => !this.met.has(known))) {
      if (one.checkpoint.origin !== header.origin) report.notProven.push(`${one.label}: it is of another log`);
      else if (one.checkpoint.size > header.size) report.violate(one.label, `the log once had ${one.checkpoint.size} events, and ends at ${header.size} here`);
      else report.notProven.push(`${one.label}: that this log continues it; a full export can show that`);
    }
    if (!report.violated.length) report.proven.push(`positions ${header.start} to ${header.end}: complete, in order, unchanged; ${this.events} events in full`);
    const removed = this.gone.reduce((sum, [, count]) => sum + count, 0);
    if (removed) report.facts.removed = removed;
    if (this.bare > removed) report.notProven.push(`that none of the ${this.bare - removed} events shown by their hash alone fits the filter`);
    if (!this.known.length) report.notProven.push("that nothing was rolled back with the log's own key: no older checkpoint was given");
    Object.assign(report.facts, { log: header.origin, events: this.events, "bare hashes": this.bare, size: header.size });
  }
}

// Tells whether ranges of [first, count] hold all of these positions.
function covers(ranges, first, count) {
  let at = first;
  for (const [start, length] of [...ranges].sort((a, b) => a[0] - b[0])) if (start <= at) at = Math.max(at, start + length);
  return at >= first + count;
}

async function* linesOf(stream) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const reader = stream.getReader();
  let [rest, done] = ["", 0];
  for (;;) {
    const piece = await reader.read();
    try { rest += piece.done ? decoder.decode() : decoder.decode(piece.value, { stream: true }); } catch { throw new Broken("it is not UTF-8"); }
    const lines = rest.split("\n");
    rest = lines.pop();
    if (rest.length > LINE_MAX) throw new Broken("a line is longer than any of the log");
    done += piece.value?.length ?? 0;
    if (lines.length) yield { lines, done };
    if (piece.done) {
      if (rest) throw new Broken("the file breaks off in the middle of a line");
      return;
    }
  }
}

// Verifies a JSONL export, a ReadableStream of bytes. `keys` are pinned Keys, `known` [{label, checkpoint}], and
// `progress` is told the bytes done. Nothing the file holds makes it throw.
export async function verifyExport(stream, { keys = [], known = [], progress = () => {} } = {}) {
  const report = new Report();
  const check = new ExportCheck(report, keys, known);
  let number = 1;
  try {
    for await (const { lines, done } of linesOf(stream)) {
      if (number === 1) await check.open(lines.shift());
      for (let at = 0; at < lines.length; at += 64) await check.take(lines.slice(at, at + 64), number + 1 + at);
      number += lines.length + (number === 1 ? 1 : 0);
      progress(done, check.events + check.bare);
    }
    if (!check.header) throw new Broken("it is empty");
    await check.close();
  } catch (error) {
    if (check.header && check.checkpoint) report.violate(`line ${number}`, error.message);
    else report.unchecked = `this cannot be checked as an export of Tallystick: ${error.message}`;
  }
  return report;
}

export function readReceipt(text) {
  const cut = text.indexOf("\n\n");
  const lines = text.slice(0, cut).split("\n").filter((line) => !line.startsWith("extra "));
  const index = /^index (0|[1-9][0-9]{0,14})$/.exec(lines[1] ?? "");
  if (cut < 0 || lines[0] !== "c2sp.org/tlog-proof@v1" || !index) throw new Broken("this is not a receipt (c2sp.org/tlog-proof)");
  return { index: Number(index[1]), hashes: lines.slice(2).map((one) => unbase64(one, 32)), checkpoint: new Checkpoint(text.slice(cut + 2)) };
}

// Verifies a receipt; with `line`, the event's line of an export, also that this event is the one it is for.
// `named` are keys that came with the receipt, which count where none is pinned.
export async function verifyReceipt(text, { line = null, keys = [], named = [] } = {}) {
  const report = new Report();
  try {
    const receipt = readReceipt(text);
    Object.assign(report.facts, { log: receipt.checkpoint.origin, position: receipt.index, size: receipt.checkpoint.size });
    if (keys.length || named.length) await trusted(report, receipt.checkpoint, keys, named);
    else report.notProven.push("who signed it: a receipt names no key. Give the log's verifier key");
    if (line === null) report.notProven.push("which event it is for: the event itself was not given");
    else await checkEvent(report, receipt, line);
  } catch (error) {
    report.unchecked = `this cannot be checked as a receipt: ${error.message}`;
  }
  return report;
}

async function checkEvent(report, receipt, line) {
  const found = await checkLine(spansOf(line));
  const where = `position ${receipt.index}`;
  for (const what of found.wrong) report.violate(where, what);
  if (found.position !== receipt.index) report.violate(where, `the event is of position ${found.position}`);
  if (found.leaf.get("origin") !== receipt.checkpoint.origin) report.violate(where, "the event is of another log");
  const root = await rootBy(found.leafHash, receipt.index, receipt.checkpoint.size, receipt.hashes);
  if (!same(root, receipt.checkpoint.root)) report.violate(where, "the event is not in the log that was signed");
  if (!report.violated.length) {
    report.proven.push(`the event ${found.leaf.get("id")} is at position ${receipt.index} of the log of ${receipt.checkpoint.size} events, unchanged`);
  }
  if (found.erased.length) report.notProven.push(`what was in ${found.erased.join(", ")}: it was erased`);
}

// Verifies that a newer checkpoint continues an older one, both of them signed by `keys`.
export async function verifyGrowth(older, newer, hashes) {
  if (older.origin !== newer.origin) throw new Broken("they are of two logs");
  return isConsistent(older.size, older.root, newer.size, newer.root, hashes.map((one) => unbase64(one, 32)));
}
