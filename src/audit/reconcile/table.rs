//! An HSM's own log as a table: CSV (RFC 4180) with a header.

use std::io::Read;

use jiff::Timestamp;

use super::Signature;

/// Which rows are signatures of the key.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Name of the column with the time, RFC 3339 or Unix seconds.
    pub time: String,
    /// Columns and what they must say.
    pub wanted: Vec<(String, String)>,
}

/// A table cannot be read so.
#[derive(Debug, thiserror::Error)]
pub enum BadTable {
    /// Not CSV.
    #[error("it is not CSV with a header")]
    Csv(#[from] csv::Error),
    /// A column is not there.
    #[error("it has no column {0:?}")]
    Column(String),
    /// A row that is wanted has no time that can be read.
    #[error("row {row}: {text:?} is neither a time (2026-11-24T08:00:00Z) nor Unix seconds")]
    Time {
        /// From 1, the header not counted.
        row: u64,
        /// What is there.
        text: String,
    },
}

/// The rows that are signatures of the key.
///
/// # Errors
/// [`BadTable`].
pub fn signatures(text: impl Read, columns: &Columns) -> Result<Vec<Signature>, BadTable> {
    let mut reader = csv::Reader::from_reader(text);
    let header = reader.headers()?.clone();
    let place = |name: &String| {
        header.iter().position(|column| column == name).ok_or_else(|| BadTable::Column(name.clone()))
    };
    let time = place(&columns.time)?;
    let wanted = columns.wanted.iter().map(|(column, value)| Ok((place(column)?, value)));
    let wanted = wanted.collect::<Result<Vec<_>, BadTable>>()?;
    let mut found = Vec::new();
    for (row, record) in (1..).zip(reader.records()) {
        let record = record?;
        if wanted.iter().any(|(at, value)| record.get(*at) != Some(value.as_str())) {
            continue;
        }
        let text = record.get(time).unwrap_or_default();
        let seconds = || text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let at = text
            .parse()
            .ok()
            .or_else(seconds)
            .ok_or_else(|| BadTable::Time { row, text: text.to_owned() })?;
        found.push(Signature { at, id: format!("row {row}"), by: String::new() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    //! Rows are chosen by what their columns say.

    use super::*;

    const TABLE: &str =
        "when,op,key\n2026-11-24T08:00:00Z,SIGN,7\n1795507201,SIGN,7\nnever,SIGN,8\n,LOGIN,\n";

    fn columns(time: &str, wanted: &[(&str, &str)]) -> Columns {
        let wanted = wanted.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned()));
        Columns { time: time.to_owned(), wanted: wanted.collect() }
    }

    #[test]
    fn rows_of_the_key_are_read() {
        let found = signatures(TABLE.as_bytes(), &columns("when", &[("op", "SIGN"), ("key", "7")])).unwrap();
        let seconds: Vec<i64> = found.iter().map(|signature| signature.at.as_second()).collect();
        assert_eq!(seconds, [1_795_507_200, 1_795_507_201]);
        assert_eq!(found[1].id, "row 2");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let fault = |columns| signatures(TABLE.as_bytes(), &columns).unwrap_err().to_string();
        assert!(fault(columns("time", &[])).contains("\"time\""));
        assert!(fault(columns("when", &[("slot", "1")])).contains("\"slot\""));
        assert!(fault(columns("when", &[("key", "8")])).contains("row 3"));
        assert!(signatures(&b"a,b\n1\n"[..], &columns("a", &[])).is_err());
    }
}
