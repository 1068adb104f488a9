"""Verifies JWTs with two libraries that are not ours, PyJWT and joserfc; ML-DSA with PyJWT on OpenSSL alone.

Reads {"jwks": {...}, "jwts": [{"alg", "token", "issuer", "audience", "typ"}, ...]} on standard input. For each JWT
and library: the signature, the header (exactly alg, kid, typ), iss, aud and exp are right, and the same JWT with one
bit of its signature flipped is refused. Prints a line per JWT and a count; exits 1 on any fault.
"""

import base64
import json
import sys
import warnings

import joserfc.jwt
import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import JWKRegistry
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa
from jwt.algorithms import Algorithm, OKPAlgorithm

class MlDsa(Algorithm):
    """What PyJWT does not know yet (RFC 9964), on the ML-DSA of OpenSSL."""

    KEYS = {
        "ML-DSA-44": mldsa.MLDSA44PublicKey,
        "ML-DSA-65": mldsa.MLDSA65PublicKey,
        "ML-DSA-87": mldsa.MLDSA87PublicKey,
    }

    def prepare_key(self, key):
        return key

    def sign(self, msg, key):
        raise NotImplementedError

    def verify(self, msg, key, sig):
        try:
            key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True

    @staticmethod
    def from_jwk(jwk):
        if jwk["kty"] != "AKP":
            raise ValueError("not an AKP key")
        raw = base64.urlsafe_b64decode(jwk["pub"] + "=" * (-len(jwk["pub"]) % 4))
        return MlDsa.KEYS[jwk["alg"]].from_public_bytes(raw)

    @staticmethod
    def to_jwk(key_obj, as_dict=False):
        raise NotImplementedError


# It warns of EdDSA, which we issue only where an older verifier needs that name.
warnings.simplefilter("ignore", SecurityWarning)
# PyJWT knows Ed25519 by its older name only; RFC 9864 gave the same signature the name "Ed25519".
jwt.register_algorithm("Ed25519", OKPAlgorithm())
PYJWT_ALGORITHMS = {**jwt.algorithms.get_default_algorithms(), "Ed25519": OKPAlgorithm()}
for name in MlDsa.KEYS:
    jwt.register_algorithm(name, MlDsa())
    PYJWT_ALGORITHMS[name] = MlDsa()


def with_pyjwt(token, jwk, wanted):
    """Header and claims, or an exception."""
    key = PYJWT_ALGORITHMS[wanted["alg"]].from_jwk(jwk)
    decoded = jwt.decode_complete(
        token,
        key,
        algorithms=[wanted["alg"]],
        issuer=wanted["issuer"],
        audience=wanted["audience"],
        options={"require": ["exp", "iat", "iss", "aud", "jti"]},
    )
    return decoded["header"], decoded["payload"]


def with_joserfc(token, jwk, wanted):
    """Header and claims, or an exception."""
    decoded = joserfc.jwt.decode(token, JWKRegistry.import_key(jwk), algorithms=[wanted["alg"]])
    joserfc.jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": wanted["issuer"]},
        aud={"essential": True, "value": wanted["audience"]},
        exp={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
    ).validate(decoded.claims)
    return decoded.header, decoded.claims


def flipped(token):
    """The JWT with one bit of its signature changed."""
    signing_input, _, signature = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[len(raw) // 2] ^= 1
    return signing_input + "." + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def fault(verify, wanted, keys):
    """What is wrong, or None."""
    token = wanted["token"]
    kid = jwt.get_unverified_header(token).get("kid")
    if kid not in keys:
        return f"kid {kid!r} is not in the key set"
    try:
        header, _ = verify(token, keys[kid], wanted)
    except Exception as e:  # Every library has its own family of errors; all of them mean "refused".
        return f"refused: {e!r}"
    expected = {"alg": wanted["alg"], "kid": kid, "typ": wanted["typ"]}
    if header != expected:
        return f"header is {header}, not {expected}"
    try:
        verify(flipped(token), keys[kid], wanted)
    except Exception:
        return None
    return "a flipped bit in the signature was not noticed"


def main():
    document = json.load(sys.stdin)
    keys = {key["kid"]: key for key in document["jwks"]["keys"]}
    libraries = {"PyJWT": with_pyjwt, "joserfc": with_joserfc}
    passed = failed = 0
    for wanted in document["jwts"]:
        for name, verify in libraries.items():
            if verify is with_joserfc and wanted["alg"] in MlDsa.KEYS:
                continue
            problem = fault(verify, wanted, keys)
            passed += problem is None
            failed += problem is not None
            print(f"{wanted['alg']:9} {name:8} {problem or 'verified, flipped bit refused'}")
    print(f"python: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
