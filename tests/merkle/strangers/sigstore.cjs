// Lets @sigstore/verify judge what the merkle room made: JSON on standard input, verdicts on standard output.
// It knows inclusion proofs and checkpoints only; its modules lie in the folder given as the first argument.
"use strict";

const { createPublicKey } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const dist = join(process.argv[2], "node_modules/@sigstore/verify/dist/tlog");
const { verifyMerkleInclusion } = require(join(dist, "merkle.js"));
const { verifyCheckpoint } = require(join(dist, "checkpoint.js"));

const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");
const bytes = (text) => Buffer.from(text, "base64");

function holds(check) {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

function included(one) {
  const entry = {
    canonicalizedBody: bytes(one.body),
    inclusionProof: { logIndex: String(one.index), hashes: one.proof.map(bytes) },
  };
  return holds(() => verifyMerkleInclusion(entry, { logSize: BigInt(one.size), logHash: bytes(one.root) }));
}

function opened(one) {
  const [, name, keyId, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(one.verifier_key);
  const publicKey = createPublicKey({
    key: Buffer.concat([ED25519_SPKI, bytes(encoded).subarray(1)]),
    format: "der",
    type: "spki",
  });
  const log = { logID: Buffer.from(keyId, "hex"), baseURL: name, publicKey };
  const entry = { inclusionProof: { checkpoint: { envelope: one.note } } };
  try {
    const checkpoint = verifyCheckpoint(entry, [log]);
    return { origin: checkpoint.origin, size: String(checkpoint.logSize), root: checkpoint.logHash.toString("base64") };
  } catch {
    return null;
  }
}

const asked = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(
  JSON.stringify({ inclusion: asked.inclusion.map(included), notes: asked.notes.map(opened) }),
);
