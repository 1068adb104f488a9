// Verifies JWTs with a library that is not ours, jose for Node.js. Input, checks and output are those of verify.py.

import { webcrypto } from "node:crypto";
import { text } from "node:stream/consumers";

// Node.js 18, which Debian 12 ships, has it only under this name.
globalThis.crypto ??= webcrypto;
const { createLocalJWKSet, jwtVerify } = await import("jose");

/** The JWT with one bit of its signature changed. */
function flipped(token) {
  const dot = token.lastIndexOf(".");
  const raw = Buffer.from(token.slice(dot + 1), "base64url");
  raw[raw.length >> 1] ^= 1;
  return `${token.slice(0, dot)}.${raw.toString("base64url")}`;
}

/** What is wrong, or undefined. */
async function fault(wanted, keys) {
  const verify = (token) =>
    jwtVerify(token, keys, {
      algorithms: [wanted.alg],
      issuer: wanted.issuer,
      audience: wanted.audience,
      typ: wanted.typ,
      requiredClaims: ["exp", "iat", "jti"],
    });
  let header;
  try {
    header = (await verify(wanted.token)).protectedHeader;
  } catch (e) {
    return `refused: ${e}`;
  }
  const members = Object.keys(header).sort().join(" ");
  if (members !== "alg kid typ") return `header has ${members}, not alg kid typ`;
  if (header.alg !== wanted.alg || header.typ !== wanted.typ) return `header is ${JSON.stringify(header)}`;
  try {
    await verify(flipped(wanted.token));
  } catch {
    return undefined;
  }
  return "a flipped bit in the signature was not noticed";
}

// WebCrypto has ML-DSA from Node.js 24 on; before that the library cannot.
const mlDsa = globalThis.SubtleCrypto?.supports?.("verify", "ML-DSA-44") ?? false;
const { jwks, jwts } = JSON.parse(await text(process.stdin));
const keys = createLocalJWKSet(jwks);
let passed = 0;
let failed = 0;
for (const wanted of jwts) {
  if (wanted.alg.startsWith("ML-DSA") && !mlDsa) {
    console.log(`${wanted.alg.padEnd(9)} jose     left out: this Node.js has no ML-DSA`);
    continue;
  }
  const problem = await fault(wanted, keys);
  problem === undefined ? passed++ : failed++;
  console.log(`${wanted.alg.padEnd(9)} jose     ${problem ?? "verified, flipped bit refused"}`);
}
console.log(`node: ${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
