// Holder and verifier of SD-JWTs with a library that is not ours, @sd-jwt/core for Node.js, on the signatures of jose.
// Input, checks and output are those of `selective.py verify`.

import { createHash, webcrypto } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { text } from "node:stream/consumers";

// Node.js 18, which Debian 12 ships, has it only under this name.
globalThis.crypto ??= webcrypto;
const { CompactSign, compactVerify, createLocalJWKSet, importJWK } = await import("jose");
const { SDJwtInstance } = await import("@sd-jwt/core");

const AUD = "https://verifier.test";
const NONCE = "nonce-4711";

/** Holder and verifier in one; the holder signs with `holder`. */
function instance(wanted, keys, holder) {
  return new SDJwtInstance({
    hasher: (data) => new Uint8Array(createHash("sha256").update(Buffer.from(data)).digest()),
    hashAlg: "sha-256",
    verifier: async (data, signature) => {
      await compactVerify(`${data}.${signature}`, keys, { algorithms: [wanted.alg] });
      return true;
    },
    kbVerifier: async (data, signature, payload) => {
      await compactVerify(`${data}.${signature}`, await importJWK(payload.cnf.jwk, "ES256"), { algorithms: ["ES256"] });
      return true;
    },
    kbSignAlg: "ES256",
    kbSigner: async (data) => {
      const [header, payload] = data.split(".").map((part) => Buffer.from(part, "base64url"));
      const signer = new CompactSign(payload).setProtectedHeader(JSON.parse(header.toString()));
      const signed = await signer.sign(await importJWK(holder, "ES256"));
      if (!signed.startsWith(`${data}.`)) throw new Error("signed something else");
      return signed.slice(data.length + 1);
    },
  });
}

const only = (claims, names) => Object.fromEntries(Object.entries(claims).filter(([name]) => names.includes(name)));

/** With another value in the first disclosure. */
function forged(token) {
  const [jwt, first, ...rest] = token.split("~");
  const [salt, name] = JSON.parse(Buffer.from(first, "base64url").toString());
  return [jwt, Buffer.from(JSON.stringify([salt, name, "forged"])).toString("base64url"), ...rest].join("~");
}
/** With one bit of the signature changed. */
function flipped(token) {
  const [jwt, ...rest] = token.split("~");
  const dot = jwt.lastIndexOf(".");
  const raw = Buffer.from(jwt.slice(dot + 1), "base64url");
  raw[raw.length >> 1] ^= 1;
  return [`${jwt.slice(0, dot)}.${raw.toString("base64url")}`, ...rest].join("~");
}

/** What is wrong, or undefined. */
async function fault(wanted, keys, stranger) {
  const { token, always, disclosable } = wanted;
  const all = [...Object.keys(always), ...Object.keys(disclosable)];
  const library = instance(wanted, keys, wanted.holder);
  const whole = await library.verify(token);
  if (whole.header.typ !== wanted.typ) return `typ is ${whole.header.typ}`;
  if (!isDeepStrictEqual(only(whole.payload, all), { ...always, ...disclosable })) return "not all claims are seen";
  for (const name of [undefined, ...Object.keys(disclosable)]) {
    const frame = name === undefined ? {} : { [name]: true };
    const { payload } = await library.verify(await library.present(token, frame));
    const expected = { ...always, ...only(disclosable, [name]) };
    if (!isDeepStrictEqual(only(payload, all), expected)) return `other claims than ${name} are seen`;
  }
  const accepted = [];
  const refused = async (what, judge) => {
    try {
      if (await judge()) accepted.push(what);
    } catch {
      // Every library has its own family of errors; all of them mean "refused".
    }
  };
  await refused("forged", async () => Object.values((await library.verify(forged(token))).payload).includes("forged"));
  await refused("signature", () => library.verify(flipped(token)));
  if (wanted.holder) {
    const kb = { payload: { iat: Math.floor(Date.now() / 1000), aud: AUD, nonce: NONCE } };
    const [name] = Object.keys(disclosable);
    const shown = await library.present(token, { [name]: true }, { kb });
    const proven = await library.verify(shown, { keyBindingNonce: NONCE });
    if (proven.kb?.payload.aud !== AUD) return "the holder's proof is not seen";
    const expected = { ...always, ...only(disclosable, [name]) };
    if (!isDeepStrictEqual(only(proven.payload, all), expected)) return "other claims are seen with the holder's proof";
    await refused("nonce", () => library.verify(shown, { keyBindingNonce: "another" }));
    await refused("stranger", async () => {
      const foreign = await instance(wanted, keys, stranger).present(token, { [name]: true }, { kb });
      return library.verify(foreign, { keyBindingNonce: NONCE });
    });
  }
  return accepted.length > 0 ? `accepted: ${accepted}` : undefined;
}

const { jwks, stranger, sd_jwts } = JSON.parse(await text(process.stdin));
const keys = createLocalJWKSet(jwks);
let passed = 0;
let failed = 0;
for (const wanted of sd_jwts) {
  const problem = await fault(wanted, keys, stranger).catch((e) => `refused: ${e}`);
  problem === undefined ? passed++ : failed++;
  const bound = wanted.holder ? "bound" : "unbound";
  console.log(`${wanted.alg.padEnd(9)} ${bound.padEnd(8)} @sd-jwt  ${problem ?? "verified whole and in parts, forgeries refused"}`);
}
console.log(`node: ${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
