//! The rules' ids, with what each demands. Ids are an interface: they stand in answers, in records and in
//! `docs/policy.md`, and are never renamed or used anew.

/// Every rule: its id, and what it demands in one sentence.
pub const RULES: &[(&str, &str)] = &[
    ("request.object", "A request is a JSON object."),
    ("request.member", "A request has the members profile, claims, ttl, consent and session, and no others."),
    ("request.profile", "The member profile is a string."),
    ("request.claims", "The member claims is a JSON object."),
    ("ttl.form", "The member ttl is an integer of seconds, or text such as 5m that means whole seconds."),
    ("ttl.positive", "The lifetime is at least one second."),
    ("ttl.max", "The lifetime is at most the profile's lifetime.max."),
    ("caller.profile", "The profile exists and is listed for this caller."),
    ("hours.open", "The profile is used within its hours, where it says that it must be."),
    ("aud.required", "An audience is named, unless the profile has exactly one."),
    ("aud.form", "The claim aud is a string or an array of strings."),
    (
        "aud.count",
        "There is at least one audience, at most eight, and only one where the profile writes aud as a string.",
    ),
    ("aud.duplicate", "No audience is named twice."),
    ("aud.allowed", "Every audience is one of the profile's audiences."),
    ("claim.reserved", "The claims iss, iat, nbf, exp and jti are written by the daemon alone."),
    (
        "claim.lookalike",
        "A claim's name is ASCII without control characters, and does not differ from a known name by case or spaces only.",
    ),
    ("claim.unknown", "Every claim is one that the profile lists."),
    ("claim.required", "Every claim that the profile requires is there and not null."),
    ("claim.type", "A claim has the JSON type that is due."),
    ("claim.const", "A claim has the one value that the profile gives."),
    ("claim.enum", "A claim has one of the values that the profile lists."),
    ("claim.pattern", "A claim is a string that matches the profile's pattern as a whole."),
    ("claim.length", "A claim is no longer than the profile's max_length."),
    ("claim.schema", "A claim keeps to its JSON Schema."),
    ("claim.control", "No string in a claim has control, zero-width or text-direction characters."),
    ("profile.schema", "The claims as a whole keep to the profile's JSON Schema."),
    ("condition.holds", "The profile's condition is true."),
    (
        "condition.error",
        "The profile's condition can be evaluated: what it looks at is there and of the right type.",
    ),
    (
        "at.sub",
        "An access token names its subject: sub is a string that is not empty (RFC 9068 section 2.2).",
    ),
    (
        "at.client_id",
        "An access token names its client: client_id is a string that is not empty (RFC 9068 section 2.2).",
    ),
    (
        "at.scope",
        "The scope of an access token is a string of words with one space between (RFC 6749 section 3.3).",
    ),
];
