// Opens encrypted JWTs with a library that is not ours, jose for Node.js. Input, checks and output are those of
// `recipient.py open`.

import { webcrypto } from "node:crypto";
import { text } from "node:stream/consumers";

// Node.js 18, which Debian 12 ships, has it only under this name.
globalThis.crypto ??= webcrypto;
const { compactDecrypt, createLocalJWKSet, importJWK, jwtVerify } = await import("jose");

/** The JWE with one bit changed, once for each part that has any. */
function* flipped(token) {
  const parts = token.split(".");
  for (const [index, part] of parts.entries()) {
    const raw = Buffer.from(part, "base64url");
    if (raw.length === 0) continue;
    raw[raw.length >> 1] ^= 1;
    yield [...parts.slice(0, index), raw.toString("base64url"), ...parts.slice(index + 1)].join(".");
  }
}

/** What is wrong, or undefined. */
async function fault(wanted, keys) {
  const key = await importJWK(wanted.private, wanted.alg);
  const open = (token) =>
    compactDecrypt(token, key, {
      keyManagementAlgorithms: [wanted.alg],
      contentEncryptionAlgorithms: [wanted.enc],
    });
  let opened;
  try {
    opened = await open(wanted.token);
  } catch (e) {
    return `refused: ${e}`;
  }
  const header = opened.protectedHeader;
  const members = Object.keys(header).join(" ");
  const expected = "alg enc kid cty" + (wanted.alg === "RSA-OAEP-256" ? "" : " epk");
  if (members !== expected) return `header has ${members}, not ${expected}`;
  if (header.cty !== "JWT" || header.kid !== wanted.private.kid) return `header is ${JSON.stringify(header)}`;
  try {
    await jwtVerify(new TextDecoder().decode(opened.plaintext), keys, {
      algorithms: ["ES256"],
      issuer: wanted.issuer,
      audience: wanted.audience,
      typ: wanted.typ,
      requiredClaims: ["exp", "iat", "jti"],
    });
  } catch (e) {
    return `inside: ${e}`;
  }
  for (const changed of flipped(wanted.token)) {
    try {
      await open(changed);
    } catch {
      continue;
    }
    return "a flipped bit was not noticed";
  }
  return undefined;
}

const { jwks, jwes } = JSON.parse(await text(process.stdin));
const keys = createLocalJWKSet(jwks);
let passed = 0;
let failed = 0;
for (const wanted of jwes) {
  const problem = await fault(wanted, keys);
  problem === undefined ? passed++ : failed++;
  console.log(`${wanted.private.kid.padEnd(30)} jose     ${problem ?? "opened and verified, flipped bits refused"}`);
}
console.log(`node: ${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
