"""Holder and verifier of SD-JWTs (RFC 9901), with a library that is not ours: sd-jwt, the reference implementation.

`selective.py keys`: two private keys for holders. `selective.py verify` reads {"jwks", "stranger", "sd_jwts": [{"token",
"alg", "typ", "always", "disclosable", "holder"}]} on standard input. For each: all claims shown are those that were asked
for; of one shown, none of the others is seen; a forged claim is not seen and a changed signature is refused; with a
holder's key, its proof is accepted and that of a stranger or for another nonce is not. Prints a line per SD-JWT and a count;
exits 1 on any fault.
"""

import base64
import json
import sys

from joserfc.jwk import ECKey
from jwcrypto.jwk import JWK
from sd_jwt.holder import SDJWTHolder
from sd_jwt.verifier import SDJWTVerifier

import verify

AUD, NONCE = "https://verifier.test", "nonce-4711"


def seen(presentation, keys, **expected):
    """The claims that a verifier sees, or an exception."""

    def issuer_key(_, header):
        return JWK(**keys[header["kid"]])

    return SDJWTVerifier(presentation, issuer_key, **expected).get_verified_payload()


def presented(token, names, holder=None):
    shown = SDJWTHolder(token)
    proof = (NONCE, AUD, JWK(**holder)) if holder else (None, None, None)
    shown.create_presentation({name: True for name in names}, *proof)
    return shown.sd_jwt_presentation


def forged(token):
    """With another value in the first disclosure."""
    jwt, first, *rest = token.split("~")
    salt, name, _ = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps([salt, name, "forged"]).encode()).rstrip(b"=").decode()
    return "~".join([jwt, changed, *rest])


def fault(wanted, keys, stranger):
    """What is wrong, or None."""
    token, always, disclosable = wanted["token"], wanted["always"], wanted["disclosable"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    if (header["alg"], header["typ"]) != (wanted["alg"], wanted["typ"]):
        return f"header is {header}"

    def of(claims):
        return {name: value for name, value in claims.items() if name in always or name in disclosable}

    if of(seen(token, keys)) != {**always, **disclosable}:
        return "not all claims are seen"
    for name in [None, *disclosable]:
        names = [name] if name else []
        if of(seen(presented(token, names), keys)) != {**always, **{name: disclosable[name] for name in names}}:
            return f"other claims than {names} are seen"
    changed, accepted = {"forged": forged(token)}, []
    jwt, tail = token.split("~", 1)
    changed["signature"] = verify.flipped(jwt) + "~" + tail
    for what, text in changed.items():
        try:
            if what == "signature" or "forged" in seen(text, keys).values():
                seen(text, keys)
                accepted.append(what)
        except Exception:
            pass
    if wanted["holder"]:
        proof = {"expected_aud": AUD, "expected_nonce": NONCE}
        names = list(disclosable)[:1]
        claims = seen(presented(token, names, wanted["holder"]), keys, **proof)
        if of(claims) != {**always, **{name: disclosable[name] for name in names}}:
            return "other claims are seen with the holder's proof"
        for holder, nonce in [(stranger, NONCE), (wanted["holder"], "another")]:
            try:
                seen(presented(token, names, holder), keys, expected_aud=AUD, expected_nonce=nonce)
                accepted.append("proof")
            except Exception:
                pass
    return f"accepted: {accepted}" if accepted else None


def main(arguments):
    if arguments == ["keys"]:
        json.dump([ECKey.generate_key("P-256", auto_kid=True).as_dict(private=True) for _ in range(2)], sys.stdout)
        return 0
    document = json.load(sys.stdin)
    keys = {key["kid"]: key for key in document["jwks"]["keys"]}
    passed = failed = 0
    for wanted in document["sd_jwts"]:
        try:
            problem = fault(wanted, keys, document["stranger"])
        except Exception as e:
            problem = f"refused: {e!r}"
        passed += problem is None
        failed += problem is not None
        bound = "bound" if wanted["holder"] else "unbound"
        print(f"{wanted['alg']:9} {bound:8} sd-jwt   {problem or 'verified whole and in parts, forgeries refused'}")
    print(f"python: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
