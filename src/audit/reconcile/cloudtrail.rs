//! AWS CloudTrail's records of KMS `Sign`, as exported to files or given by `aws cloudtrail lookup-events`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Signature;

/// A file is not of CloudTrail.
#[derive(Debug, thiserror::Error)]
pub enum NotCloudTrail {
    /// Not JSON, or a record lacks a member.
    #[error("it is not JSON of CloudTrail")]
    Json(#[from] serde_json::Error),
    /// Neither form.
    #[error("it has neither `Records`, as files of a trail have, nor `Events`, as lookup-events gives")]
    Form,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_time: Timestamp,
    event_source: String,
    event_name: String,
    #[serde(rename = "eventID")]
    event_id: String,
    error_code: Option<String>,
    #[serde(default)]
    user_identity: Value,
    #[serde(default, rename = "sourceIPAddress")]
    source: String,
    #[serde(default)]
    request_parameters: Value,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "ARN", default)]
    arn: String,
}

/// The signatures that the key `key`, an ARN or a key id, made according to `text`. Requests that failed made none.
///
/// # Errors
/// [`NotCloudTrail`].
pub fn signatures(text: &[u8], key: &str) -> Result<Vec<Signature>, NotCloudTrail> {
    let mut file: Value = serde_json::from_slice(text)?;
    let records: Vec<Value> = if let Some(Value::Array(records)) = file.get_mut("Records").map(Value::take) {
        records
    } else if let Some(Value::Array(events)) = file.get_mut("Events").map(Value::take) {
        let texts = events.iter().map(|event| event.get("CloudTrailEvent").and_then(Value::as_str));
        texts
            .map(|text| Ok(serde_json::from_str(text.ok_or(NotCloudTrail::Form)?)?))
            .collect::<Result<_, NotCloudTrail>>()?
    } else {
        return Err(NotCloudTrail::Form);
    };
    let mut found = Vec::new();
    for record in records {
        let is_sign = record.get("eventName").and_then(Value::as_str) == Some("Sign");
        if !is_sign {
            continue;
        }
        let record: Record = serde_json::from_value(record)?;
        let named = record.request_parameters.get("keyId").and_then(Value::as_str).unwrap_or_default();
        let is_key = |name: &str| name == key || name.rsplit_once(":key/").is_some_and(|(_, id)| id == key);
        let ours = is_key(named) || record.resources.iter().any(|resource| is_key(&resource.arn));
        if ours
            && record.event_name == "Sign"
            && record.event_source == "kms.amazonaws.com"
            && record.error_code.is_none()
        {
            let who = record.user_identity.get("arn").and_then(Value::as_str).unwrap_or("unknown");
            let by = format!("{who} from {}", record.source);
            found.push(Signature { at: record.event_time, id: record.event_id, by });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    //! Both forms, and what is no signature of the key.

    use super::*;
    use serde_json::json;

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";

    fn record(name: &str, arn: &str, error: Option<&str>) -> Value {
        json!({
            "eventVersion": "1.11",
            "userIdentity": { "type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/jwsd/i-1" },
            "eventTime": "2026-11-24T08:00:00Z",
            "eventSource": "kms.amazonaws.com",
            "eventName": name,
            "sourceIPAddress": "192.0.2.7",
            "requestParameters": { "messageType": "DIGEST", "keyId": "1234abcd", "signingAlgorithm": "ECDSA_SHA_256" },
            "errorCode": error,
            "eventID": "e-1",
            "resources": [{ "accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": arn }],
        })
    }

    #[test]
    fn signatures_of_the_key_are_read_from_both_forms() {
        let mut other = record("Sign", "arn:aws:kms:eu-central-1:111122223333:key/other", None);
        other["requestParameters"]["keyId"] = json!("other");
        let mut foreign = record("Sign", ARN, None);
        foreign["eventSource"] = json!("signer.amazonaws.com");
        let records = json!([
            record("Sign", ARN, None),
            record("Verify", ARN, None),
            record("Sign", ARN, Some("ThrottlingException")),
            other,
            foreign,
            { "eventName": "ConsoleLogin" },
        ]);
        let events: Vec<Value> =
            records.as_array().unwrap().iter().map(|r| json!({ "CloudTrailEvent": r.to_string() })).collect();
        for file in [json!({ "Records": records }), json!({ "Events": events })] {
            for key in [ARN, "1234abcd"] {
                let found = signatures(file.to_string().as_bytes(), key).unwrap();
                assert_eq!(found.len(), 1, "{key}");
                assert_eq!(found[0].at, "2026-11-24T08:00:00Z".parse().unwrap());
                assert!(found[0].by.contains("assumed-role/jwsd") && found[0].by.contains("192.0.2.7"));
            }
            assert!(signatures(file.to_string().as_bytes(), "abcd").unwrap().is_empty());
        }
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"Records":{}}"#,
            r#"{"Events":[{}]}"#,
            r#"{"Records":[{"eventName":"Sign"}]}"#,
        ] {
            assert!(signatures(text.as_bytes(), ARN).is_err(), "{text}");
        }
    }
}
