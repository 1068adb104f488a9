//! One row per fault: a line of the good file, what it becomes, and the fault that is told.

use super::{GOOD, LOADER};

struct Row {
    from: &'static str,
    to: &'static str,
    path: &'static str,
    line: usize,
    text: &'static str,
}
macro_rules! rows {
    ($($from:literal => $to:literal: $path:literal, $line:literal, $text:literal;)*) => {
        [$(Row { from: $from, to: $to, path: $path, line: $line, text: $text }),*]
    };
}

#[test]
fn each_fault_is_told_with_path_line_and_remedy() {
    let rows = rows! {
        // The file as TOML.
        "allow_root = false" => "allow_root = ": "", 2, "";
        "allow_root = false" => "environment = \"x\"": "", 2, "duplicate";
        "[audit]" => "[audit": "", 13, "";
        "body = \"16KiB\"" => "body = \"16KiB": "", 10, "";
        // Shape: unknown keys.
        "allow_root = false" => "alow_root = false": "alow_root", 2, "did you mean \"allow_root\"?";
        "headers = 32" => "haeders = 32": "limits.haeders", 11, "did you mean \"headers\"?";
        "headers = 32" => "zzz = 32": "limits.zzz", 11, "the keys here are body, batch_body";
        "[log]" => "[log.x]": "log.x", 19, "unknown key";
        "admin = { mode = \"0600\" }" => "admin = { mod = \"0600\" }": "listen.admin.mod", 6, "\"mode\"";
        "token = { label = \"jwsd\" }" => "token = { label = \"jwsd\", slot = 0 }": "backend.hsm.token.slot", 25, "unknown key";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nregion = \"x\"": "backend.hsm.region", 24, "unknown key";
        "nbf = false" => "nfb = false": "profile.access-token.nfb", 44, "did you mean \"nbf\"?";
        "client_id = { required = true }" => "client_id = { require = true }": "profile.access-token.claims.client_id.require", 48, "\"required\"";
        "rate = \"200/s\"" => "rates = \"200/s\"": "caller.billing.rates", 62, "\"rate\"";
        "[caller.billing]" => "[callr.billing]": "callr", 59, "\"caller\"";
        // Shape: missing keys, wrong types, unknown choices.
        "environment = \"production\"" => "": "environment", 0, "missing: Name of the environment";
        "environment = \"production\"" => "environment = 3": "environment", 1, "text in quotes is needed";
        "allow_root = false" => "allow_root = \"no\"": "allow_root", 2, "true or false is needed";
        "headers = 32" => "headers = \"32\"": "limits.headers", 11, "a whole number is needed";
        "headers = 32" => "headers = 32.5": "limits.headers", 11, "a whole number is needed";
        "headers = 32" => "headers = -1": "limits.headers", 11, "too small";
        "headers = 32" => "headers = 4294967296": "limits.headers", 11, "too large";
        "headers = 32" => "headers = 99999999999999999999": "limits.headers", 11, "64 bits";
        "body = \"16KiB\"" => "body = 16384": "limits.body", 10, "text in quotes is needed";
        "level = \"info\"" => "level = \"verbose\"": "log.level", 20, "\"error\", \"warn\", \"info\"";
        "kind = \"pkcs11\"" => "kind = \"vault\"": "backend.hsm.kind", 23, "write \"pkcs11\", \"aws-kms\"";
        "kind = \"pkcs11\"" => "": "backend.hsm.kind", 22, "missing";
        "module = \"/usr/lib/softhsm/libsofthsm2.so\"" => "": "backend.hsm.module", 22, "missing: write it, or module-path in `uri`";
        "pin = { credential = \"hsm-pin\" }" => "pin = \"1234\"": "backend.hsm.pin", 26, "a table is needed";
        "algorithm = \"ES256\"" => "algorithm = \"HS256\"": "key.access.algorithm", 31, "\"RS256\", \"RS384\"";
        "algorithm = \"ES256\"" => "algorithm = \"none\"": "key.access.algorithm", 31, "not one of the choices";
        "algorithm = \"ES256\"" => "": "key.access.algorithm", 29, "missing";
        "issuer = \"https://login.example.com\"" => "": "profile.access-token.issuer", 38, "missing";
        "audiences = [\"https://ci.example.com\"]" => "audiences = \"https://ci.example.com\"": "profile.deploy.audiences", 56, "a list";
        "lifetime = { default = \"5m\", max = \"15m\" }" => "lifetime = \"5m\"": "profile.access-token.lifetime", 43, "a table is needed";
        "lifetime = { default = \"5m\", max = \"15m\" }" => "lifetime = { default = \"5m\" }": "profile.access-token.lifetime.max", 43, "missing";
        "user = 1002" => "user = true": "caller.deployer.user", 65, "a name in quotes or a whole number";
        "sub = { required = true, type = \"string\" }" => "sub = { type = \"text\" }": "profile.access-token.claims.sub.type", 47, "\"string\"";
        "client_id = { required = true }" => "client_id = { type = \"integer\" }": "profile.access-token.claims.client_id.type", 48, "always a string";
        "client_id = { required = true }" => "client_id = {}\nauth_time = { type = \"string\" }": "profile.access-token.claims.auth_time.type", 49, "always an integer of seconds";
        "enum = [1, 2, 3]" => "const = 1979-05-27": "profile.access-token.claims.level.const", 50, "JSON has no dates";
        "enum = [1, 2, 3]" => "const = nan": "profile.access-token.claims.level.const", 50, "finite";
        // Conditions: the place is that within the expression.
        "nbf = false" => "condition = \"claims.sub == 1 &&\"": "profile.access-token.condition", 44, "not an expression of CEL";
        "nbf = false" => "condition = \"claims.subject == 'x'\"": "profile.access-token.condition", 44, "this profile has no claim \"subject\"";
        "nbf = false" => "condition = \"\"\"\nclaims.sub != '' &&\n  size(claim.scope) < 5\"\"\"": "profile.access-token.condition", 46, "there is no \"claim\" here";
        "nbf = false" => "condition = \"claims.scope.map(x, x) == []\"": "profile.access-token.condition", 44, "all, exists, exists_one, map and filter";
        "nbf = false" => "condition = \"claims.scope + 'x'\"": "profile.access-token.condition", 44, "neither true nor false";
        "nbf = false" => "condition_message = \"x\"": "profile.access-token.condition_message", 44, "no `condition`";
        "nbf = false" => "condition = \"now > 0\"\ncondition_message = \"\"": "profile.access-token.condition_message", 45, "1 to 256";
        "nbf = false" => "condition = \"now > 0\"\ncondition_message = \"a\\nb\"": "profile.access-token.condition_message", 45, "one line";
        // Rates, hours, misuse.
        "nbf = false" => "rates = [{ per = \"host\", window = \"1m\", warn = 1 }]": "profile.access-token.rates[0].per", 44, "\"caller\"";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"1m\" }]": "profile.access-token.rates[0]", 44, "write `warn`, `refuse` or both";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"0s\", warn = 1 }]": "profile.access-token.rates[0].window", 44, "write 1s to";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"1500ms\", warn = 1 }]": "profile.access-token.rates[0].window", 44, "whole seconds";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"1m\", warn = 2, refuse = 2 }]": "profile.access-token.rates[0].warn", 44, "less than `refuse`";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"1m\", refuse = 0 }]": "profile.access-token.rates[0].refuse", 44, "at least 1";
        "lifetime = { default = \"2m\", max = \"10m\" }" => "lifetime = { default = \"2m\", max = \"10m\" }\nrates = [{ per = \"subject\", window = \"1m\", warn = 1 }]": "profile.deploy.rates[0].per", 58, "no claim \"sub\"";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"1s\", warn = 1 }, { per = \"caller\", window = \"2s\", warn = 1 }, { per = \"caller\", window = \"3s\", warn = 1 }, { per = \"caller\", window = \"4s\", warn = 1 }, { per = \"caller\", window = \"5s\", warn = 1 }, { per = \"caller\", window = \"6s\", warn = 1 }, { per = \"caller\", window = \"7s\", warn = 1 }, { per = \"caller\", window = \"8s\", warn = 1 }, { per = \"caller\", window = \"9s\", warn = 1 }]": "profile.access-token.rates", 44, "at most 8";
        "nbf = false" => "rates = [{ per = \"caller\", window = \"1m\", warn = 1 }, { per = \"caller\", window = \"60s\", refuse = 2 }]": "profile.access-token.rates[1]", 44, "in the same window";
        "nbf = false" => "hours = { days = \"Mon\", from = \"08:00\", to = \"18:00\" }": "profile.access-token.hours.days", 44, "mon-fri";
        "nbf = false" => "hours = { from = \"8\", to = \"18:00\" }": "profile.access-token.hours.from", 44, "time of day";
        "nbf = false" => "hours = { from = \"08:00\", to = \"24:01\" }": "profile.access-token.hours.to", 44, "time of day";
        "nbf = false" => "hours = { from = \"08:00\", to = \"08:00\" }": "profile.access-token.hours.to", 44, "the same as `from`";
        "nbf = false" => "hours = { from = \"08:00\", to = \"18:00\", zone = \"Europe/Atlantis\" }": "profile.access-token.hours.zone", 44, "no such time zone";
        "nbf = false" => "hours = { from = \"08:00\", to = \"18:00\", action = \"wait\" }": "profile.access-token.hours.action", 44, "\"warn\"";
        "[log]" => "[misuse]\ndenials = { window = \"1m\", warn = 5, refuse = 5 }\n[log]": "misuse.denials.warn", 20, "less than `refuse`";
        "[log]" => "[misuse]\ndenials = { window = \"2d\" }\n[log]": "misuse.denials.window", 20, "write 1s to";
        "[log]" => "[misuse]\nnew_exe = \"refuse\"\n[log]": "misuse.new_exe", 20, "\"off\"";
        "[log]" => "[misuse]\nnew_exes = \"off\"\n[log]": "misuse.new_exes", 20, "did you mean \"new_exe\"?";
        // Sockets.
        "\"/run/jwsd/sign.sock\"" => "\"run/sign.sock\"": "listen.signing.path", 5, "absolute path";
        "\"/run/jwsd/sign.sock\"" => "\"@jwsd\"": "listen.signing.path", 5, "abstract names have no permissions";
        "\"/run/jwsd/sign.sock\"" => "\"/run/jwsd/../sign.sock\"": "listen.signing.path", 5, "`..`";
        "\"/run/jwsd/sign.sock\"" => "\"/run/jwsd/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.sock\"": "listen.signing.path", 5, "at most 107";
        "public = {}" => "public = { path = \"/run/jwsd/admin.sock\" }": "listen.public.path", 7, "another socket has this path";
        "mode = \"0600\"" => "mode = \"rw\"": "listen.admin.mode", 6, "not a file mode";
        "mode = \"0600\"" => "mode = \"0666\"": "listen.admin.mode", 6, "not for everyone";
        "public = {}" => "public = { mode = \"0777\" }": "listen.public.mode", 7, "no other bits";
        "group = \"jwsd-callers\"" => "group = \"jwsd-caller\"": "listen.signing.group", 5, "no group \"jwsd-caller\"";
        // Limits, directories.
        "body = \"16KiB\"" => "body = \"16KB\"": "limits.body", 10, "KiB, MiB";
        "body = \"16KiB\"" => "body = \"1GiB\"": "limits.body", 10, "write 256B to 1MiB";
        "body = \"16KiB\"" => "connection_age = \"500ms\"": "limits.connection_age", 10, "1s to";
        "headers = 32" => "idle = \"0s\"": "limits.idle", 11, "write 1s to 1h";
        "headers = 32" => "deadline = \"2\"": "limits.deadline", 11, "a number and a unit";
        "headers = 32" => "jwks_max_age = \"1500ms\"": "limits.jwks_max_age", 11, "whole seconds";
        "headers = 32" => "batch_body = \"8KiB\"": "limits.batch_body", 11, "at least as much as `body`";
        "headers = 32" => "connections = 10": "limits.connections_per_uid", 9, "more than `connections`";
        "headers = 32" => "batch_items = 257": "limits.batch_items", 11, "write 1 to 256";
        "headers = 32" => "header_bytes = \"4KiB\"": "limits.header_bytes", 11, "write 8KiB to 64KiB";
        "headers = 32" => "in_flight = 0": "limits.in_flight", 11, "out of range";
        "dir = \"/var/log/jwsd\"" => "dir = \"log\"": "audit.dir", 14, "absolute path";
        "dir = \"/var/log/jwsd\"" => "segment = \"4KiB\"": "audit.segment", 14, "write 64KiB to 4GiB";
        "[log]" => "[clock]\nmode = \"lax\"\n[log]": "clock.mode", 20, "strict";
        "[log]" => "[clock]\nmod = \"off\"\n[log]": "clock.mod", 20, "did you mean \"mode\"?";
        "dir = \"/var/lib/jwsd\"" => "dir = \"/var/log//jwsd/\"": "state.dir", 17, "its own directory";
        "environment = \"production\"" => "environment = \"Prod uction\"": "environment", 1, "names are";
        // What belongs to one environment.
        "allow_root = false" => "issuers = { production = [\"deploy-robot\"], staging = [\"https://login.example.com\"] }": "profile.access-token.issuer", 41, "an issuer of environment \"staging\"";
        "allow_root = false" => "issuers = { production = [\"deploy-robot\"], staging = [\"https://LOGIN.example.com:443/\"] }": "profile.access-token.issuer", 41, "an issuer of environment \"staging\"";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com\"] }": "profile.deploy.issuer", 55, "does not list it for environment \"production\"";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com/\", \"deploy-robot\"] }": "profile.access-token.issuer", 41, "does not list it";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com\", \"deploy-robot\"], staging = [\"a\"], test = [\"b\", \"a\"] }": "issuers.test[1]", 2, "environment \"staging\" has it too";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com\", \"deploy-robot\"], staging = [\"a\", \"a\"] }": "issuers.staging[1]", 2, "stands here twice";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com\", \"deploy-robot\"], staging = [] }": "issuers.staging", 2, "write the issuers";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com\", \"deploy-robot\"], staging = [\"https://a?b\"] }": "issuers.staging[0]", 2, "as profiles have it";
        "allow_root = false" => "issuers = { production = [\"https://login.example.com\", \"deploy-robot\"], Staging = [\"a\"] }": "issuers.Staging", 2, "names are";
        "allow_root = false" => "issuers = { prodction = [\"a\"] }": "issuers", 2, "by \"prodction\"?";
        "allow_root = false" => "issuers = { live = [\"a\"] }": "issuers", 2, "\"production\" is not listed: add its issuers";
        "nbf = false" => "environment = \"staging\"": "profile.access-token.environment", 44, "of environment \"staging\", and this is \"production\"";
        "algorithm = \"ES256\"" => "algorithm = \"ES256\"\nenvironment = \"staging\"": "key.access.environment", 32, "of environment \"staging\", and this is \"production\"";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nenvironment = \"staging\"": "backend.hsm.environment", 24, "of environment \"staging\", and this is \"production\"";
        // Backends and keys.
        "\"/usr/lib/softhsm/libsofthsm2.so\"" => "\"libsofthsm2.so\"": "backend.hsm.module", 24, "absolute path";
        "token = { label = \"jwsd\" }" => "token = {}": "backend.hsm.token", 25, "say which token";
        "token = { label = \"jwsd\" }" => "token = { serial = \"12345678901234567\" }": "backend.hsm.token.serial", 25, "1 to 16 bytes";
        "pin = { credential = \"hsm-pin\" }" => "pin = {}": "backend.hsm.pin", 26, "either `credential` or `file`";
        "pin = { credential = \"hsm-pin\" }" => "pin = { credential = \"a\", file = \"/b\" }": "backend.hsm.pin", 26, "either";
        "pin = { credential = \"hsm-pin\" }" => "pin = { credential = \"../pin\" }": "backend.hsm.pin.credential", 26, "systemd credential";
        "pin = { credential = \"hsm-pin\" }" => "pin = { file = \"pin\" }": "backend.hsm.pin.file", 26, "absolute path";
        "SOFTHSM2_CONF =" => "LD_PRELOAD =": "backend.hsm.env.LD_PRELOAD", 27, "load other code";
        "SOFTHSM2_CONF =" => "LD_LIBRARY_PATH =": "backend.hsm.env.LD_LIBRARY_PATH", 27, "load other code";
        "SOFTHSM2_CONF =" => "LD_AUDIT =": "backend.hsm.env.LD_AUDIT", 27, "load other code";
        "SOFTHSM2_CONF =" => "HSM_PIN =": "backend.hsm.env.HSM_PIN", 27, "no place for secrets";
        "SOFTHSM2_CONF =" => "\"a b\" =": "backend.hsm.env.\"a b\"", 27, "variable name";
        "[audit]" => "[backend.two]\nkind = \"pkcs11\"\nmodule = \"/usr/lib//softhsm/libsofthsm2.so\"\ntoken = { label = \"jwsd\" }\npin = { credential = \"x\" }\nenv = { SOFTHSM2_CONF = \"/etc/softhsm2.conf\" }\n[audit]": "backend.two.token", 16, "the token of backend \"hsm\"";
        "[audit]" => "[backend.two]\nkind = \"pkcs11\"\nmodule = \"/usr/lib//softhsm/libsofthsm2.so\"\ntoken = { label = \"jwsd\", serial = \"1\" }\npin = { credential = \"x\" }\nenv = { SOFTHSM2_CONF = \"/etc/softhsm2.conf\" }\n[audit]": "backend.two.token", 16, "may be the token of backend \"hsm\": use that one, or say the serial of both";
        "[audit]" => "[backend.two]\nkind = \"pkcs11\"\nmodule = \"/usr/lib//softhsm/libsofthsm2.so\"\ntoken = { serial = \"1\" }\npin = { credential = \"x\" }\nenv = { SOFTHSM2_CONF = \"/etc/softhsm2.conf\" }\n[audit]": "backend.two.token", 16, "may be the token of backend \"hsm\": use that one, or say the serial of both";
        "[audit]" => "[backend.two]\nkind = \"pkcs11\"\nmodule = \"/usr/lib//softhsm/libsofthsm2.so\"\ntoken = {}\npin = { credential = \"x\" }\nenv = { SOFTHSM2_CONF = \"/etc/softhsm2.conf\" }\n[audit]": "backend.two.token", 16, "say which token";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:token=jwsd\"": "backend.hsm.token", 26, "`uri` says it too (token or serial): write it once";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:?module-path=/m.so\"": "backend.hsm.module", 25, "`uri` says it too (module-path)";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:?pin-source=file:/p\"": "backend.hsm.pin", 27, "`uri` says it too (pin-source)";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:token=a b\"": "backend.hsm.uri", 24, "as %XX";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:tokem=a\"": "backend.hsm.uri", 24, "unknown attribute";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:slot-id=0\"": "backend.hsm.uri", 24, "modules renumber slots";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:slot-description=a\"": "backend.hsm.uri", 24, "remove slot-description";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:object=a\"": "backend.hsm.uri", 24, "about a key";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nuri = \"pkcs11:?module-name=a\"": "backend.hsm.uri", 24, "write module-path";
        "token = { label = \"jwsd\" }" => "uri = \"pkcs11:model=a\"": "backend.hsm.uri", 25, "say which token: write token, serial or both";
        "token = { label = \"jwsd\" }" => "uri = \"pkcs11:serial=12345678901234567\"": "backend.hsm.uri", 25, "1 to 16 bytes for serial";
        "token = { label = \"jwsd\" }" => "uri = \"pkcs11:\"": "backend.hsm.token", 22, "missing: write it, or token or serial in `uri`";
        "pin = { credential = \"hsm-pin\" }" => "uri = \"pkcs11:?pin-source=%7C/bin/pin\"": "backend.hsm.uri", 26, "nothing is run for it";
        "pin = { credential = \"hsm-pin\" }" => "uri = \"pkcs11:?pin-source=file:pin\"": "backend.hsm.uri", 26, "pin-source=file:/PATH";
        "pin = { credential = \"hsm-pin\" }" => "uri = \"pkcs11:?pin-source=file:/a/../pin\"": "backend.hsm.uri", 26, "`..`";
        "pin = { credential = \"hsm-pin\" }" => "": "backend.hsm.pin", 22, "missing: write it, or pin-source in `uri`";
        "module = \"/usr/lib/softhsm/libsofthsm2.so\"" => "uri = \"pkcs11:?module-path=m.so\"": "backend.hsm.uri", 24, "absolute path";
        "[audit]" => "[backend.two]\nkind = \"pkcs11\"\nuri = \"pkcs11:token=jwsd?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/pin\"\nenv = { SOFTHSM2_CONF = \"/etc/softhsm2.conf\" }\n[audit]": "backend.two.uri", 15, "the token of backend \"hsm\"";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\n[audit]": "backend.cloud.region", 13, "missing: The region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"\"\n\n[audit]": "backend.cloud.region", 15, "write a region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"Frankfurt\"\n\n[audit]": "backend.cloud.region", 15, "write a region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central\"\n\n[audit]": "backend.cloud.region", 15, "write a region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu--1\"\n\n[audit]": "backend.cloud.region", 15, "write a region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1a\"\n\n[audit]": "backend.cloud.region", 15, "write a region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-CENTRAL-1\"\n\n[audit]": "backend.cloud.region", 15, "write a region";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"http://kms.example\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"ftp://kms.example\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"https://me@kms.example\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"https://kms.example/path\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"https://kms.example?a\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"kms.example\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"https://\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"https://kms.example#a\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"http://localhost.example\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = \"http://10.0.0.1:80\"\n[audit]": "backend.cloud.endpoint", 16, "write";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrole = \"jwsd\"\n[audit]": "backend.cloud.role", 16, "ARN of an IAM role";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrole = \"arn:aws:iam::1111:role/jwsd\"\n[audit]": "backend.cloud.role", 16, "ARN of an IAM role";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrole = \"arn:aws:iam::111122223333:user/jwsd\"\n[audit]": "backend.cloud.role", 16, "ARN of an IAM role";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrole = \"arn:aws:kms::111122223333:role/jwsd\"\n[audit]": "backend.cloud.role", 16, "ARN of an IAM role";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrole = \"arn:aws:iam::111122223333:role/\"\n[audit]": "backend.cloud.role", 16, "ARN of an IAM role";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrole = \"arn:gcp:iam::111122223333:role/jwsd\"\n[audit]": "backend.cloud.role", 16, "ARN of an IAM role";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nprofile = \"\"\n[audit]": "backend.cloud.profile", 16, "name of a profile";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrate = \"0/s\"\n[audit]": "backend.cloud.rate", 16, "not a rate";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nrate = \"240\"\n[audit]": "backend.cloud.rate", 16, "not a rate";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nconcurrency = 0\n[audit]": "backend.cloud.concurrency", 16, "write 1 to 1024";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nconnect_timeout = \"1ms\"\n[audit]": "backend.cloud.connect_timeout", 16, "out of range";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nattempt_timeout = \"1h\"\n[audit]": "backend.cloud.attempt_timeout", 16, "out of range";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nconnect_timeout = \"2s\"\n[audit]": "backend.cloud.connect_timeout", 16, "longer than `attempt_timeout`";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nmodule = \"/m.so\"\n[audit]": "backend.cloud.module", 16, "unknown key";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nhedge = \"yes\"\n[audit]": "backend.cloud.hedge", 16, "true or false";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\ngenerate = \"no\"\n[audit]": "backend.cloud.generate", 16, "true or false";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\ndeletion_window = \"6d\"\n[audit]": "backend.cloud.deletion_window", 16, "write 7d to 30d";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\ndeletion_window = \"31d\"\n[audit]": "backend.cloud.deletion_window", 16, "write 7d to 30d";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\ndeletion_window = \"180h\"\n[audit]": "backend.cloud.deletion_window", 16, "whole days";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\ndeletion_window = \"1mo\"\n[audit]": "backend.cloud.deletion_window", 16, "not a duration";
        "[audit]" => "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\ndeletion_window = 7\n[audit]": "backend.cloud.deletion_window", 16, "text in quotes";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\ngenerate = 0": "backend.hsm.generate", 24, "true or false";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\ndeletion_window = \"7d\"": "backend.hsm.deletion_window", 24, "unknown key";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]": "key.access.backend", 29, "name the backend that holds it";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]\nbackend = \"hsm\"\nbackends = [\"hsm\"]": "key.access.backends", 31, "write either `backend` or `backends`";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]\nbackends = []": "key.access.backends", 30, "write the names";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]\nbackends = [\"hsm\", \"hsm\"]": "key.access.backends[1]", 30, "stands here twice";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]\nbackends = [\"hsm\", \"hms\"]": "key.access.backends[1]", 30, "did you mean";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]\nbackends = \"hsm\"": "key.access.backends", 30, "a list";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nsessions = 0": "backend.hsm.sessions", 24, "write 1 to 256";
        "kind = \"pkcs11\"" => "kind = \"pkcs11\"\nstart_timeout = \"1h\"": "backend.hsm.start_timeout", 24, "write 1s to 5m";
        "[key.access]\nbackend = \"hsm\"" => "[key.access]\nbackend = \"hms\"": "key.access.backend", 30, "no backend \"hms\": did you mean \"hsm\"?";
        "rsa_bits = 3072" => "rsa_bits = 1024": "key.rsa.rsa_bits", 36, "write 2048, 3072 or 4096";
        "algorithm = \"ES256\"" => "algorithm = \"ES256\"\nrsa_bits = 2048": "key.access.rsa_bits", 32, "not an RSA algorithm";
        "algorithm = \"ES256\"" => "algorithm = \"ES256\"\ncertificates = \"/a.pem\"": "key.access.certificates", 32, "a list";
        "algorithm = \"ES256\"" => "algorithm = \"ES256\"\ncertificates = [\"a.pem\"]": "key.access.certificates[0]", 32, "absolute path of a PEM file";
        "algorithm = \"ES256\"" => "algorithm = \"ES256\"\ncertificates = [\"/does/not/exist.pem\"]": "key.access.certificates[0]", 32, "/does/not";
        "[key.access]" => "[key.Access]": "key.Access", 29, "names are";
        // Profiles.
        "key = \"access\"" => "key = \"acess\"": "profile.access-token.key", 39, "did you mean \"access\"?";
        "typ = \"JWT\"" => "typ = \"application/jwt\"": "profile.deploy.typ", 54, "without \"application/\"";
        "typ = \"JWT\"" => "typ = \"a b\"": "profile.deploy.typ", 54, "media subtype";
        "typ = \"JWT\"" => "typ = \"\"": "profile.deploy.typ", 54, "media subtype";
        "key = \"rsa\"\ntyp = \"JWT\"" => "key = \"access\"\ntyp = \"AT+JWT\"": "profile.deploy.typ", 54, "has the same key and typ";
        "typ = \"JWT\"" => "typ = \"at+jwt\"": "profile.deploy.issuer", 55, "RFC 9068";
        "typ = \"JWT\"" => "": "profile.deploy.typ", 52, "missing: write the `typ` header, or the `base`";
        "typ = \"JWT\"" => "base = \"jwt\"": "profile.deploy.base", 54, "\"access-token\", \"id-token\"";
        "typ = \"at+jwt\"" => "typ = \"JWT\"\nbase = \"access-token\"": "profile.access-token.typ", 40, "has the typ \"at+jwt\"";
        "typ = \"JWT\"\nissuer = \"deploy-robot\"" => "typ = \"JWT\"\nbase = \"github-app\"\nissuer = \"1234\"": "profile.deploy.audiences", 57, "has no audience: remove it";
        "typ = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]" => "nbf = true\nbase = \"github-app\"\nissuer = \"1234\"": "profile.deploy.nbf", 54, "has no such claim: remove it";
        "key = \"rsa\"\ntyp = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]" => "key = \"access\"\nbase = \"github-app\"\nissuer = \"1234\"\n": "profile.deploy.key", 53, "is signed with RS256: name a key with that algorithm";
        "scope = {" => "nonce = {": "profile.access-token.claims.nonce", 49, "kind \"access-token\" (RFC 9068) never has this claim";
        "scope = {" => "cnf = {": "profile.access-token.claims.cnf", 49, "never has this claim";
        "\"deploy-robot\"" => "\"https://x.example?a=b\"": "profile.deploy.issuer", 55, "without query and fragment";
        "\"deploy-robot\"" => "\"https://x.example#a\"": "profile.deploy.issuer", 55, "without query and fragment";
        "\"deploy-robot\"" => "\"https://\"": "profile.deploy.issuer", 55, "absolute URI";
        "\"deploy-robot\"" => "\"https://me:pw@x.example\"": "profile.deploy.issuer", 55, "absolute URI";
        "\"deploy-robot\"" => "\"\"": "profile.deploy.issuer", 55, "absolute URI";
        "issuer = \"https://login.example.com\"" => "issuer = \"login\"": "profile.access-token.issuer", 41, "a URL";
        "audiences = [\"https://ci.example.com\"]" => "audiences = []": "profile.deploy.audiences", 56, "1 to 64";
        "\"reports\"]" => "\"https://api.example.com\"]": "profile.access-token.audiences[1]", 42, "twice";
        "\"reports\"]" => "\"\"]": "profile.access-token.audiences[1]", 42, "plain name";
        "\"reports\"]" => "\"a b\"]": "profile.access-token.audiences[1]", 42, "plain name";
        "default = \"5m\", max = \"15m\"" => "default = \"20m\", max = \"15m\"": "profile.access-token.lifetime.default", 43, "longer than `max`";
        "default = \"5m\", max = \"15m\"" => "default = \"5m\", max = \"25h\"": "profile.access-token.lifetime.max", 43, "at most \"24h\"";
        "default = \"5m\", max = \"15m\"" => "default = \"0s\", max = \"15m\"": "profile.access-token.lifetime.default", 43, "out of range";
        "default = \"5m\", max = \"15m\"" => "default = \"1500ms\", max = \"15m\"": "profile.access-token.lifetime.default", 43, "whole seconds";
        "default = \"5m\", max = \"15m\"" => "default = \"five\", max = \"15m\"": "profile.access-token.lifetime.default", 43, "not a duration";
        "nbf = false" => "schema = \"claims.json\"": "profile.access-token.schema", 44, "absolute path";
        // Kinds, lifetimes, what is fixed by who the caller is.
        "typ = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]\nlifetime = { default = \"2m\", max = \"10m\" }" => "base = \"client-assertion\"\naudience_form = \"array\"\nissuer = \"web\"\naudiences = [\"https://ci.example.com\"]\nlifetime = { default = \"2m\", max = \"5m\" }": "profile.deploy.audience_form", 55, "has one audience";
        "typ = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]\nlifetime = { default = \"2m\", max = \"10m\" }" => "base = \"client-assertion\"\nissuer = \"web\"\naudiences = [\"https://ci.example.com\"]\nlifetime = { default = \"2m\", max = \"5m\" }\nclaims = { sub = {} }": "profile.deploy.claims.sub", 58, "about its issuer, and the daemon writes that";
        "typ = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]\nlifetime = { default = \"2m\", max = \"10m\" }" => "base = \"id-token\"\nissuer = \"login\"\naudiences = [\"web\"]\nlifetime = { default = \"2m\", max = \"5m\" }": "profile.deploy.issuer", 55, "is a URL (OpenID Connect Core";
        "default = \"5m\", max = \"15m\"" => "default = \"5m\", max = \"31m\"": "profile.access-token.lifetime.max", 43, "over the ceiling of kind \"access-token\": write at most \"30m\", or say why in `over_ceiling`";
        "default = \"5m\", max = \"15m\"" => "default = \"5m\", max = \"25h\", over_ceiling = \"a batch job that runs all night\"": "profile.access-token.lifetime.max", 43, "at most \"24h\"";
        "default = \"5m\", max = \"15m\"" => "default = \"5m\", max = \"15m\", over_ceiling = \"a batch job\"": "profile.access-token.lifetime.over_ceiling", 43, "not over the ceiling";
        "default = \"5m\", max = \"15m\"" => "default = \"5m\", max = \"1h\", over_ceiling = \"because\"": "profile.access-token.lifetime.over_ceiling", 43, "10 to 200 characters";
        "default = \"2m\", max = \"10m\"" => "default = \"2m\", max = \"24h\", over_ceiling = \"there is no ceiling here\"": "profile.deploy.lifetime.over_ceiling", 57, "not over the ceiling";
        "nbf = false" => "nbf = false\nskew = \"30s\"": "profile.access-token.skew", 45, "no `nbf` to set back";
        "nbf = false" => "nbf = true\nskew = \"6m\"": "profile.access-token.skew", 45, "write 0s to 5m";
        "nbf = false" => "round_iat = \"0s\"": "profile.access-token.round_iat", 44, "write 1s to 1h";
        "nbf = false" => "round_iat = \"1500ms\"": "profile.access-token.round_iat", 44, "whole seconds";
        "nbf = false" => "round_iat = \"6m\"": "profile.access-token.lifetime.default", 43, "write at least \"6m\"";
        "typ = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]\nlifetime = { default = \"2m\", max = \"10m\" }" => "base = \"github-app\"\nissuer = \"1234\"\nlifetime = { default = \"1m\", max = \"10m\" }": "profile.deploy.lifetime.default", 56, "write at least \"1m 1s\"";
        "nbf = false" => "aal = 4": "profile.access-token.aal", 44, "at most 3";
        "nbf = false" => "aal = 0": "profile.access-token.aal", 44, "at least 1";
        "nbf = false" => "max_age = \"0s\"": "profile.access-token.max_age", 44, "out of range";
        "nbf = false" => "session = \"always\"": "profile.access-token.session", 44, "\"optional\", \"required\"";
        "\"deploy-robot\"" => "\"robot-{\"": "profile.deploy.issuer", 55, "braces hold a name";
        "\"deploy-robot\"" => "\"{name} {name}\"": "profile.deploy.issuer", 55, "without ':' and spaces, for caller \"deployer\"";
        "\"deploy-robot\"" => "\"robot-{tenant}\"": "caller.deployer.vars.tenant", 64, "missing: `profile.deploy.issuer` takes it in";
        "client_id = { required = true }" => "client_id = { from_caller = \"{client_id}\" }": "caller.billing.vars.client_id", 59, "missing: `profile.access-token.claims.client_id.from_caller` takes it in";
        "client_id = { required = true }" => "client_id = { from_caller = \"a{\" }": "profile.access-token.claims.client_id.from_caller", 48, "braces hold a name";
        "client_id = { required = true }" => "client_id = { from_caller = \"{name}\", enum = [\"x\"] }": "profile.access-token.claims.client_id.from_caller", 48, "fixed already";
        "client_id = { required = true }" => "tenant = { from_caller = \"{name}\", type = \"array\" }": "profile.access-token.claims.tenant.from_caller", 48, "fixed already";
        "client_id = { required = true }" => "client_id = { from_caller = \"{name}\", min = 1 }": "profile.access-token.claims.client_id.from_caller", 48, "`min`, `max`";
        "client_id = { required = true }" => "client_id = { from_caller = \"{name}\", max = 1 }": "profile.access-token.claims.client_id.from_caller", 48, "`min`, `max`";
        "client_id = { required = true }" => "client_id = { from_caller = \"{name}\", schema = { minLength = 9 } }": "profile.access-token.claims.client_id.from_caller", 48, "`schema`, or is empty, for caller \"billing\"";
        "client_id = { required = true }" => "client_id = { from_caller = \"{name}\", pattern = \"[0-9]+\" }": "profile.access-token.claims.client_id.from_caller", 48, "or is empty, for caller \"billing\"";
        "client_id = { required = true }" => "client_id = { from_caller = \"{name}\", max_length = 3 }": "profile.access-token.claims.client_id.from_caller", 48, "`max_length`";
        "client_id = { required = true }" => "client_id = { min = 1, type = \"string\" }": "profile.access-token.claims.client_id.min", 48, "only numbers and dates";
        "client_id = { required = true }" => "client_id = { min = 2, max = 1 }": "profile.access-token.claims.client_id.max", 48, "at least `min`";
        "client_id = { required = true }" => "client_id = { max = \"1\" }": "profile.access-token.claims.client_id.max", 48, "a number";
        "client_id = { required = true }" => "client_id = { personal = \"yes\" }": "profile.access-token.claims.client_id.personal", 48, "true or false";
        "rate = \"200/s\"" => "vars = { name = \"x\" }": "caller.billing.vars.name", 62, "which is the caller's";
        "rate = \"200/s\"" => "vars = { Tenant = \"x\" }": "caller.billing.vars.Tenant", 62, "1 to 32 of a-z";
        "rate = \"200/s\"" => "vars = { tenant = \"\" }": "caller.billing.vars.tenant", 62, "1 to 512 characters";
        "rate = \"200/s\"" => "vars = { tenant = 1 }": "caller.billing.vars.tenant", 62, "text in quotes";
        // Publication.
        "[audit]" => "[publish]\ndir = \"public\"\n[audit]": "publish.dir", 14, "absolute path";
        "[audit]" => "[publish]\ndir = \"/var/lib/jwsd/public\"\n[audit]": "publish.dir", 14, "no web server can read";
        "[audit]" => "[publish]\ndir = \"/var/log/jwsd\"\n[audit]": "publish.dir", 14, "no web server can read";
        "[audit]" => "[publish]\njwks_uri = \"/jwks.json\"\n[audit]": "publish.jwks_uri", 14, "begins with https://";
        "[audit]" => "[publish]\njwks_uri = \"ftp://a/jwks.json\"\n[audit]": "publish.jwks_uri", 14, "begins with https://";
        "[audit]" => "[publish]\njwks_uri = \"https://me@a/jwks.json\"\n[audit]": "publish.jwks_uri", 14, "begins with https://";
        "[audit]" => "[publish]\njwks_uri = \"https://a/jwks.json#b\"\n[audit]": "publish.jwks_uri", 14, "begins with https://";
        "\"deploy-robot\"" => "\"https://Login.example.com/\"": "profile.deploy.issuer", 55, "the same place as those of issuer \"https://login.example.com\"";
        "\"deploy-robot\"" => "\"http://login.example.com\"": "profile.deploy.issuer", 55, "write both the same way";
        // Claims.
        "scope = {" => "exp = {": "profile.access-token.claims.exp", 49, "the daemon's to write";
        "scope = {" => "aud = {": "profile.access-token.claims.aud", 49, "the daemon's to write";
        "scope = {" => "ISS = {": "profile.access-token.claims.ISS", 49, "looks like";
        "scope = {" => "\"sc ope\" = {": "profile.access-token.claims.\"sc ope\"", 49, "printable ASCII";
        "scope = {" => "\"\\uff45xp\" = {": "profile.access-token.claims.\"ｅxp\"", 49, "printable ASCII";
        "scope = {" => "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" = {": "profile.access-token.claims.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 49, "1 to 64";
        "pattern = \"[a-z:]+( [a-z:]+)*\"" => "pattern = \"(\"": "profile.access-token.claims.scope.pattern", 49, "not a regular expression: unclosed group";
        "pattern = \"[a-z:]+( [a-z:]+)*\"" => "pattern = \"a)|(b\"": "profile.access-token.claims.scope.pattern", 49, "not a regular expression";
        "pattern = \"[a-z:]+( [a-z:]+)*\"" => "pattern = \"\\\\w{1000}{1000}\"": "profile.access-token.claims.scope.pattern", 49, "too large";
        "type = \"integer\", enum" => "type = \"integer\", pattern = \"1\", enum": "profile.access-token.claims.level.pattern", 50, "only strings";
        "type = \"integer\", enum" => "type = \"integer\", max_length = 1, enum": "profile.access-token.claims.level.max_length", 50, "have a length";
        "type = \"integer\", enum" => "type = \"integer\", const = 1, enum": "profile.access-token.claims.level.enum", 50, "exclude each other";
        "[1, 2, 3]" => "[1, \"2\", 3]": "profile.access-token.claims.level.enum[1]", 50, "not of the claim's `type`";
        "[1, 2, 3]" => "[]": "profile.access-token.claims.level.enum", 50, "no value would be allowed";
        "client_id = { required = true }" => "client_id = { max_length = 0 }": "profile.access-token.claims.client_id.max_length", 48, "at least 1";
        "client_id = { required = true }" => "client_id = { schema = { type = \"text\" } }": "profile.access-token.claims.client_id.schema", 48, "JSON Schema";
        // Encryption and SD-JWTs.
        "scope = {" => "_sd = {": "profile.access-token.claims._sd", 49, "means digests";
        "scope = {" => "\"...\" = {": "profile.access-token.claims.\"...\"", 49, "means digests";
        "sub = { required = true, type = \"string\" }" => "sub = { required = true, sensitive = true }": "profile.access-token.claims.sub.sensitive", 47, "write encrypt";
        "nbf = false" => "encrypt = \"when-sensitive\"": "profile.access-token.encrypt", 44, "no claim is sensitive";
        "nbf = false" => "encrypt = \"sometimes\"": "profile.access-token.encrypt", 44, "\"always\", \"when-sensitive\"";
        "typ = \"JWT\"" => "typ = \"JWT\"\nencrypt = \"always\"": "profile.deploy.audiences[0]", 57, "add [recipient.\"https://ci.example.com\"]";
        "[caller.billing]" => "[recipient.\"https://ci.example.com\"]\njwks = \"ci.json\"\n[caller.billing]": "recipient.\"https://ci.example.com\".jwks", 60, "absolute path of a JWK Set file";
        "[caller.billing]" => "[recipient.\"https://ci.example.com\"]\njwks = \"/does/not/exist.json\"\n[caller.billing]": "recipient.\"https://ci.example.com\".jwks", 60, "/does/not";
        "[caller.billing]" => "[recipient.\"https://ci.example.com\"]\n[caller.billing]": "recipient.\"https://ci.example.com\".jwks", 59, "missing";
        "[caller.billing]" => "[recipient.\"https://ci.example.org\"]\njwks = \"/ci.json\"\n[caller.billing]": "recipient.\"https://ci.example.org\"", 59, "did you mean \"https://ci.example.com\"?";
        "client_id = { required = true }" => "client_id = { disclosable = true }": "profile.access-token.claims.client_id.disclosable", 48, "sd_jwt = {}";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = {}": "profile.deploy.sd_jwt", 55, "no claim is disclosable";
        "typ = \"JWT\"" => "typ = \"JWT\"\nsd_jwt = {}\nclaims = { a = { disclosable = true } }": "profile.deploy.typ", 54, "ends in \"+sd-jwt\"";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = { decoys = 33 }\nclaims = { a = { disclosable = true } }": "profile.deploy.sd_jwt.decoys", 55, "write 0 to 32";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = { key_binding = \"never\" }\nclaims = { cnf = {}, a = { disclosable = true } }": "profile.deploy.sd_jwt.key_binding", 55, "\"required\", \"optional\"";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = { key_binding = \"required\" }\nclaims = { a = { disclosable = true } }": "profile.deploy.claims", 56, "add cnf = {}";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = {}\nclaims = { cnf = { disclosable = true } }": "profile.deploy.claims.cnf.disclosable", 56, "always see";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = {}\nclaims = { vct = { disclosable = true } }": "profile.deploy.claims.vct.disclosable", 56, "always see";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = {}\nclaims = { status = { disclosable = true } }": "profile.deploy.claims.status.disclosable", 56, "always see";
        "typ = \"JWT\"" => "typ = \"x+sd-jwt\"\nsd_jwt = {}\nencrypt = \"when-sensitive\"\nclaims = { a = { disclosable = true, sensitive = true } }": "profile.deploy.sd_jwt", 55, "remove one";
        "typ = \"JWT\"" => "base = \"security-event\"\nsession = \"required\"": "profile.deploy.session", 55, "has no `exp`";
        "typ = \"JWT\"" => "base = \"security-event\"\naal = 2": "profile.deploy.aal", 55, "has no `exp`";
        "typ = \"JWT\"" => "base = \"security-event\"\nmax_age = \"8h\"": "profile.deploy.max_age", 55, "has no `exp`";
        "typ = \"JWT\"" => "base = \"security-event\"\nconsent = { purposes = [\"a\"], max_age = \"1d\" }": "profile.deploy.consent", 55, "has no `exp`";
        "client_id = { required = true }" => "client_id = {}\nNonce = {}": "profile.access-token.claims.Nonce", 49, "never has this claim";
        "client_id = { required = true }" => "client_id = {}\nCNF = {}": "profile.access-token.claims.CNF", 49, "never has this claim";
        "client_id = { required = true }" => "client_id = {}\nEvents = {}": "profile.access-token.claims.Events", 49, "never has this claim";
        "client_id = { required = true }" => "client_id = {}\nClient_ID = {}": "profile.access-token.claims.Client_ID", 49, "looks like the claim \"client_id\"";
        // Callers.
        "user = \"billing\"" => "": "caller.billing", 59, "write `user`, `group` or both";
        "user = \"billing\"" => "user = \"biling\"": "caller.billing.user", 60, "no user \"biling\"";
        "user = \"billing\"" => "user = \"broken\"": "caller.billing.user", 60, "the directory is down";
        "user = \"billing\"" => "user = 4294967295": "caller.billing.user", 60, "not a user";
        "user = \"billing\"" => "user = 4294967296": "caller.billing.user", 60, "too large";
        "user = \"billing\"" => "group = \"billing\"": "caller.billing.group", 60, "no group";
        "profiles = [\"access-token\"]" => "profiles = []": "caller.billing.profiles", 61, "names of the profiles";
        "profiles = [\"access-token\"]" => "profiles = [\"deploy\", \"access_token\"]": "caller.billing.profiles[1]", 61, "did you mean \"access-token\"?";
        "profiles = [\"deploy\"]" => "profiles = [\"deploy\", \"deploy\"]": "caller.deployer.profiles[1]", 68, "twice";
        "rate = \"200/s\"" => "rate = \"200\"": "caller.billing.rate", 62, "requests per second";
        // Operators.
        "[audit]" => "[admin]\ntwo_person = [\"revoke\"]\n[audit]": "admin.two_person", 14, "lets one user in";
        "admin = { mode = \"0600\" }\npublic = {}" => "admin = { mode = \"0660\" }\npublic = {}\n[admin]\ntwo_person = [\"destroy\", \"destroy\"]": "admin.two_person[1]", 9, "twice";
        "admin = { mode = \"0600\" }\npublic = {}" => "admin = { mode = \"0660\" }\npublic = {}\n[admin]\ntwo_person = [\"clear-pin\"]": "admin.two_person[0]", 9, "write \"generate\", \"adopt\"";
        "[audit]" => "[admin]\ntwo_person_within = \"2d\"\n[audit]": "admin.two_person_within", 14, "out of range";
        "exe = \"/usr/bin/deployer\"" => "exe = \"deployer\"": "caller.deployer.exe", 66, "absolute path";
        "unit = \"deployer.service\"" => "unit = \"deployer\"": "caller.deployer.unit", 67, "full name of a unit";
        "user = 1002\nexe = \"/usr/bin/deployer\"\nunit = \"deployer.service\"" => "user = 1001": "caller.deployer", 64, "the same processes as caller \"billing\"";
        "[caller.billing]" => "[caller.\"bill ing\"]": "caller.\"bill ing\"", 59, "names are";
        // Detectors, personal data and consent.
        "[audit]" => "[detector.card]\npattern = \"x\"\n[audit]": "detector.card", 13, "a built-in detector has this name";
        "[audit]" => "[detector.\"a b\"]\npattern = \"x\"\n[audit]": "detector.\"a b\"", 13, "names are";
        "[audit]" => "[detector.x]\n[audit]": "detector.x", 13, "it would find nothing";
        "[audit]" => "[detector.x]\npatern = \"x\"\nnames = [\"x\"]\n[audit]": "detector.x.patern", 14, "did you mean \"pattern\"?";
        "[audit]" => "[detector.x]\npattern = \"(\"\n[audit]": "detector.x.pattern", 14, "not a regular expression";
        "[audit]" => "[detector.x]\npattern = \"x*\"\n[audit]": "detector.x.pattern", 14, "found in every text";
        "[audit]" => "[detector.x]\npattern = \"(a{1000}){1000}\"\n[audit]": "detector.x.pattern", 14, "too large";
        "[audit]" => "[detector.x]\nnames = [\"x\", \"_\"]\n[audit]": "detector.x.names[1]", 14, "1 to 64 letters and digits";
        "nbf = false" => "detectors = { off = [\"entropie\"] }": "profile.access-token.detectors.off[0]", 44, "did you mean \"entropy\"?";
        "nbf = false" => "detectors = { on = [] }": "profile.access-token.detectors.on", 44, "the keys here are off";
        "client_id = { required = true }" => "client_id = { may_hold = [\"email\", \"postcode\"] }": "profile.access-token.claims.client_id.may_hold[1]", 48, "write some of name, card";
        "level = { type = \"integer\", enum = [1, 2, 3] }" => "api_key = { type = \"string\" }": "profile.access-token.claims.api_key", 50, "may_hold = [\"name\"]";
        "client_id = { required = true }" => "client_id = { personal = true }": "profile.access-token.claims.client_id.personal", 48, "`consent` or `legal_basis`";
        "client_id = { required = true }" => "client_id = { sensitive = 1 }": "profile.access-token.claims.client_id.sensitive", 48, "true or false";
        "nbf = false" => "legal_basis = \"consent\"": "profile.access-token.legal_basis", 44, "\"contract\", \"legal-obligation\"";
        "nbf = false" => "consent = { purposes = [\"a\"] }": "profile.access-token.consent.max_age", 44, "missing: How long";
        "nbf = false" => "consent = { purposes = [], max_age = \"1d\" }": "profile.access-token.consent.purposes", 44, "write 1 to 16 purposes";
        "nbf = false" => "consent = { purposes = [\"A\"], max_age = \"1d\" }": "profile.access-token.consent.purposes[0]", 44, "names are";
        "nbf = false" => "consent = { purposes = [\"a\", \"a\"], max_age = \"1d\" }": "profile.access-token.consent.purposes[1]", 44, "stands here twice";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"30s\" }": "profile.access-token.consent.max_age", 44, "write 1m to";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"90500ms\" }": "profile.access-token.consent.max_age", 44, "whole seconds";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", when = \"never\" }": "profile.access-token.consent.when", 44, "\"always\", \"personal\"";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", when = \"personal\" }": "profile.access-token.consent.when", 44, "no claim is personal";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"exp\" }": "profile.access-token.consent.claim", 44, "none of the daemon's own";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"EXP\" }": "profile.access-token.consent.claim", 44, "none of the daemon's own";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"sub\" }": "profile.access-token.consent.claim", 44, "callers may set this claim";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"pin\" }": "profile.access-token.consent.claim", 44, "tells of a secret";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"Scope\" }": "profile.access-token.consent.claim", 44, "callers may set this claim";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"events\" }": "profile.access-token.consent.claim", 44, "of kind \"access-token\" never has this claim";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"cnf\" }": "profile.access-token.consent.claim", 44, "never has this claim";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"Nonce\" }": "profile.access-token.consent.claim", 44, "never has this claim";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"_sd\" }": "profile.access-token.consent.claim", 44, "means digests";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"_SD_alg\" }": "profile.access-token.consent.claim", 44, "means digests";
        "nbf = false" => "consent = { purposes = [\"a\"], max_age = \"1d\", claim = \"...\" }": "profile.access-token.consent.claim", 44, "means digests";
    };
    assert!(rows.len() >= 60);
    let mut wrong = Vec::new();
    for row in &rows {
        assert_eq!(GOOD.matches(row.from).count(), 1, "{}", row.from);
        let text = GOOD.replacen(row.from, row.to, 1);
        match LOADER.parse(&text, "x.toml") {
            Ok(_) => wrong.push(format!("{}: no fault", row.to)),
            Err(faults) => {
                let told = faults.faults.iter().any(|fault| {
                    fault.path == row.path && fault.line == row.line && fault.message.contains(row.text)
                });
                if !told {
                    wrong
                        .push(format!("{} ({} line {}: {})\n{faults}", row.to, row.path, row.line, row.text));
                }
                // One mistake is one fault; but what has a wrong name is also missing under the right one, and an
                // at+jwt has more rules.
                let echo = faults
                    .faults
                    .iter()
                    .filter(|fault| !fault.path.is_empty() && fault.path != row.path)
                    .count();
                let echoes =
                    ["[callr", "[key.Access]", "\"bill ing\"", "[log.x]", "at+jwt\"", "AT+JWT", "sometimes"];
                if echo > 0 && !echoes.iter().any(|known| row.to.contains(known)) {
                    wrong.push(format!("{}: echoes\n{faults}", row.to));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}
