"""The recipient of encrypted JWTs, with a library that is not ours: joserfc; the JWT inside is verified as in verify.py.

`recipient.py keys`: a private key for every kind of key, algorithm and content encryption, as a list of
{"alg", "enc", "private", "public"}. `recipient.py open` reads {"jwks", "jwes": [{"token", "private", "alg", "enc",
"issuer", "audience", "typ"}]} on standard input. For each: the header is exactly what it must be, the content is a JWT
that verifies, and the same JWE with one bit flipped in any of its parts is refused. Prints a line per JWE and a count;
exits 1 on any fault.
"""

import base64
import json
import sys

from joserfc import jwe
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

import verify

KINDS = [
    (RSAKey, 2048, ["RSA-OAEP-256"]),
    (RSAKey, 4096, ["RSA-OAEP-256"]),
    (ECKey, "P-256", ["ECDH-ES", "ECDH-ES+A256KW"]),
    (ECKey, "P-384", ["ECDH-ES", "ECDH-ES+A256KW"]),
    (ECKey, "P-521", ["ECDH-ES", "ECDH-ES+A256KW"]),
    (OKPKey, "X25519", ["ECDH-ES", "ECDH-ES+A256KW"]),
]
ENCS = ["A256GCM", "A128GCM"]


def keys():
    made = []
    for kind, size, algs in KINDS:
        for alg in algs:
            for enc in ENCS:
                key = kind.generate_key(size, {"use": "enc", "kid": f"{size}-{alg}-{enc}"})
                made.append({"alg": alg, "enc": enc, "private": key.as_dict(private=True), "public": key.as_dict(private=False)})
    return made


def decrypted(token, wanted):
    key = JWKRegistry.import_key(wanted["private"])
    opened = jwe.decrypt_compact(token, key, algorithms=[wanted["alg"], wanted["enc"]])
    return opened.headers(), opened.plaintext.decode()


def flipped(token):
    """The JWE with one bit changed, once for each part that has any."""
    parts = token.split(".")
    for index, part in enumerate(parts):
        raw = bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        if raw:
            raw[len(raw) // 2] ^= 1
            changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
            yield ".".join(parts[:index] + [changed] + parts[index + 1 :])


def fault(wanted, keys):
    """What is wrong, or None."""
    try:
        header, inner = decrypted(wanted["token"], wanted)
    except Exception as e:
        return f"refused: {e!r}"
    epk = [] if wanted["alg"] == "RSA-OAEP-256" else ["epk"]
    if list(header) != ["alg", "enc", "kid", "cty", *epk]:
        return f"header has {list(header)}"
    expected = {"alg": wanted["alg"], "enc": wanted["enc"], "kid": wanted["private"]["kid"], "cty": "JWT"}
    if {name: header[name] for name in expected} != expected:
        return f"header is {header}, not {expected}"
    inside = {**wanted, "alg": "ES256", "token": inner}
    for check in (verify.with_pyjwt, verify.with_joserfc):
        if problem := verify.fault(check, inside, keys):
            return f"inside: {problem}"
    for changed in flipped(wanted["token"]):
        try:
            decrypted(changed, wanted)
        except Exception:
            continue
        return "a flipped bit was not noticed"
    return None


def main(arguments):
    if arguments == ["keys"]:
        json.dump(keys(), sys.stdout)
        return 0
    document = json.load(sys.stdin)
    signers = {key["kid"]: key for key in document["jwks"]["keys"]}
    passed = failed = 0
    for wanted in document["jwes"]:
        problem = fault(wanted, signers)
        passed += problem is None
        failed += problem is not None
        print(f"{wanted['private']['kid']:30} joserfc  {problem or 'opened and verified, flipped bits refused'}")
    print(f"python: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
