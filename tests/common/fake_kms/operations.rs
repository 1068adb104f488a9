//! What each operation does to the keys and aliases, and what it answers.

use super::keys::{self, Exception, Pair};
use super::{ACCOUNT, Key, Script};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// Keys in one answer of `ListKeys`.
const PAGE: usize = 20;

pub fn perform(script: &mut Script, region: &str, action: &str, body: &Value) -> Result<Value, Exception> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    match action {
        "CreateKey" => {
            let spec = text("KeySpec");
            let arn = format!("arn:aws:kms:{region}:{ACCOUNT}:key/{}", uuid::Uuid::now_v7());
            let key = Key {
                pair: Arc::new(Pair::generate(spec)),
                spec: spec.to_owned(),
                state: "Enabled".to_owned(),
                usage: text("KeyUsage").to_owned(),
                origin: "AWS_KMS".to_owned(),
                age: 0,
                description: text("Description").to_owned(),
                tags: body["Tags"].clone(),
                deletion: None,
                hidden: script.lags,
            };
            let metadata = describe(&arn, &key);
            script.keys.insert(arn, key);
            Ok(json!({ "KeyMetadata": metadata }))
        }
        "DescribeKey" => {
            let (arn, key) = script.key(text("KeyId"), region)?;
            Ok(json!({ "KeyMetadata": describe(&arn, key) }))
        }
        "GetPublicKey" => {
            let (arn, key) = script.key(text("KeyId"), region)?;
            key.is_enabled(&arn)?;
            Ok(json!({
                "KeyId": arn,
                "KeySpec": key.spec,
                "KeyUsage": key.usage,
                "PublicKey": STANDARD.encode(key.pair.public()),
                "SigningAlgorithms": keys::algorithms(&key.spec),
            }))
        }
        "ListKeys" => {
            let limit = usize::try_from(body["Limit"].as_u64().unwrap_or(100)).unwrap();
            assert!(limit <= 1000);
            // It may always give fewer.
            let limit = limit.min(PAGE);
            let after = text("Marker").to_owned();
            let shown = script.keys.iter().filter(|(_, key)| !key.hidden).map(|(arn, _)| arn);
            let mut rest = shown.filter(|arn| **arn > after);
            let page: Vec<&String> = rest.by_ref().take(limit).collect();
            let listed: Vec<Value> = page.iter().map(|arn| json!({ "KeyId": arn, "KeyArn": arn })).collect();
            let marker = page.last().filter(|_| rest.next().is_some());
            Ok(json!({ "Keys": listed, "Truncated": marker.is_some(), "NextMarker": marker }))
        }
        "ListResourceTags" => {
            let (_, key) = script.key(text("KeyId"), region)?;
            Ok(json!({ "Tags": key.tags, "Truncated": false }))
        }
        "CreateAlias" => {
            let (name, target) = (text("AliasName"), text("TargetKeyId"));
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
            if !name.starts_with("alias/") || name.len() > 256 || !name.bytes().all(fits) {
                return Err(("ValidationException", format!("bad alias {name}")));
            }
            if script.aliases.contains_key(name) {
                return Err(("AlreadyExistsException", format!("{name} already exists")));
            }
            let (arn, _) = script.key(target, region)?;
            script.aliases.insert(name.to_owned(), arn);
            Ok(json!({}))
        }
        "DeleteAlias" => match script.aliases.remove(text("AliasName")) {
            Some(_) => Ok(json!({})),
            None => Err(("NotFoundException", "no such alias".to_owned())),
        },
        "ScheduleKeyDeletion" => {
            let days = body["PendingWindowInDays"].as_i64().unwrap_or(30);
            assert!((7..=30).contains(&days));
            let (arn, key) = script.key(text("KeyId"), region)?;
            if key.deletion.is_some() {
                return Err(("KMSInvalidStateException", format!("{arn} is pending deletion.")));
            }
            let date = Timestamp::now().as_second() + days * 24 * 60 * 60;
            let key = script.keys.get_mut(&arn).unwrap();
            (key.state, key.deletion) = ("PendingDeletion".to_owned(), Some(date));
            Ok(json!({ "KeyId": arn, "KeyState": key.state, "DeletionDate": date }))
        }
        "Sign" => {
            *script.forms.entry(text("MessageType").to_owned()).or_default() += 1;
            // Whoever may move an alias could swap keys under a signer.
            if !text("KeyId").starts_with("arn:aws:kms:") || !text("KeyId").contains(":key/") {
                return Err(("ValidationException", "sign by ARN".to_owned()));
            }
            let (arn, key) = script.key(text("KeyId"), region)?;
            key.is_enabled(&arn)?;
            let message = STANDARD.decode(text("Message")).unwrap_or_default();
            let algorithm = text("SigningAlgorithm");
            let signature = key.pair.sign(&key.spec, algorithm, text("MessageType"), &message)?;
            Ok(
                json!({ "KeyId": arn, "Signature": STANDARD.encode(signature), "SigningAlgorithm": algorithm }),
            )
        }
        _ => Err(("UnsupportedOperationException", format!("{action} is not played here"))),
    }
}

impl Key {
    fn is_enabled(&self, arn: &str) -> Result<(), Exception> {
        match self.state.as_str() {
            "Enabled" => Ok(()),
            "Disabled" => Err(("DisabledException", format!("{arn} is disabled."))),
            state => Err(("KMSInvalidStateException", format!("{arn} is {state}."))),
        }
    }
}

fn describe(arn: &str, key: &Key) -> Value {
    let id = arn.rsplit('/').next().unwrap();
    json!({
        "DeletionDate": key.deletion,
        "AWSAccountId": ACCOUNT,
        "KeyId": id,
        "Arn": arn,
        "CreationDate": Timestamp::now().as_second() - key.age,
        "Enabled": key.state == "Enabled",
        "Description": key.description,
        "KeyUsage": key.usage,
        "KeyState": key.state,
        "Origin": key.origin,
        "KeyManager": "CUSTOMER",
        "KeySpec": key.spec,
        "SigningAlgorithms": keys::algorithms(&key.spec),
        "MultiRegion": id.starts_with("mrk-"),
    })
}
