"""Makes input for the verifiers without the daemon: a fresh key and a JWT for every algorithm, or faulty ones.

A verifier that accepts everything proves nothing, so each is first run on `sample.py` (must pass) and on
`sample.py --faulty N` for every N below `sample.py --count` (must fail).
"""

import base64
import json
import sys
import time

import joserfc.jwt
from cryptography.hazmat.primitives.asymmetric import mldsa
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

KEYS = {
    **{alg: (RSAKey, 2048) for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]},
    "ES256": (ECKey, "P-256"),
    "ES384": (ECKey, "P-384"),
    "ES512": (ECKey, "P-521"),
    "Ed25519": (OKPKey, "Ed25519"),
    "EdDSA": (OKPKey, "Ed25519"),
}
ML_DSA = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}
WANTED = {"issuer": "https://localhost/sample", "audience": "https://api.example.com", "typ": "at+jwt"}
HEADER_FAULTS = [{"typ": "JWT"}, {"jku": "https://example.com"}, {"kid": "unknown"}]
CLAIM_FAULTS = [{"iss": "https://example.com"}, {"aud": "x"}, {"exp": int(time.time()) - 600}, {"jti": None}]


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def issue_ml_dsa(alg):
    """By hand: no library for Python knows RFC 9964 yet."""
    key = ML_DSA[alg].generate()
    kid, now = f"kid-{alg}", int(time.time())
    claims = {"iss": WANTED["issuer"], "aud": WANTED["audience"], "sub": "a", "iat": now, "exp": now + 300, "jti": "1"}
    header = {"alg": alg, "kid": kid, "typ": WANTED["typ"]}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    token = f"{text}.{base64url(key.sign(text.encode()))}"
    public = base64url(key.public_key().public_bytes_raw())
    return {"kty": "AKP", "alg": alg, "use": "sig", "kid": kid, "pub": public}, {"alg": alg, "token": token, **WANTED}


def issue(alg, header_fault=None, claim_fault=None):
    kind, size = KEYS[alg]
    key = kind.generate_key(size, {"alg": alg, "use": "sig", "kid": f"kid-{alg}"})
    now = int(time.time())
    claims = {"iss": WANTED["issuer"], "aud": WANTED["audience"], "sub": "a", "iat": now, "exp": now + 300, "jti": "1"}
    claims = {k: v for k, v in {**claims, **(claim_fault or {})}.items() if v is not None}
    header = {"alg": alg, "kid": key.kid, "typ": WANTED["typ"], **(header_fault or {})}
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    token = joserfc.jwt.encode(header, claims, key, registry=registry)
    return key.as_dict(private=False), {"alg": alg, "token": token, **WANTED}


def main(arguments):
    if arguments == ["--count"]:
        print(len(HEADER_FAULTS) + len(CLAIM_FAULTS))
        return
    if arguments:
        faults = [(h, None) for h in HEADER_FAULTS] + [(None, c) for c in CLAIM_FAULTS]
        issued = [issue("ES256", *faults[int(arguments[1])])]
    else:
        issued = [issue(alg) for alg in KEYS] + [issue_ml_dsa(alg) for alg in ML_DSA]
    keys, jwts = zip(*issued)
    json.dump({"jwks": {"keys": keys}, "jwts": jwts}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
