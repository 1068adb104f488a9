//! Files that are refused, and why.

use super::*;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use secrecy::ExposeSecret;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

/// Longest text that a test reads, bytes.
const LIMIT: u64 = 64;

fn with_file(text: &[u8], mode: u32) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, text).unwrap();
    set_mode(&path, mode);
    (directory, path)
}
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}
fn problem<T>(result: Result<T, SecureFileError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(SecureFileError::Insecure { problem, .. } | SecureFileError::Unusable { problem, .. }) => problem,
        Err(error @ SecureFileError::Io { .. }) => panic!("{error}: {error:?}"),
    }
}

#[test]
fn a_file_of_ours_is_read() {
    for mode in [0o400, 0o600, 0o640, 0o644] {
        let (_directory, path) = with_file(b"text\n", mode);
        assert_eq!(read_config(&path, LIMIT).unwrap(), "text\n", "{mode:o}");
    }
    let (_directory, path) = with_file(&[b'x'; LIMIT as usize], 0o600);
    assert_eq!(read_config(&path, LIMIT).unwrap().len() as u64, LIMIT);
}
#[test]
fn a_secret_loses_one_newline_and_is_not_shown() {
    for (written, secret) in
        [("1234\n", "1234"), ("1234", "1234"), ("1234\r\n", "1234"), ("12 34\n\n", "12 34\n")]
    {
        let (_directory, path) = with_file(written.as_bytes(), 0o600);
        let read = read_secret(&path).unwrap();
        assert_eq!(read.expose_secret(), secret);
        assert!(!format!("{read:?}").contains("12"));
    }
}
#[test]
fn a_file_that_others_may_change_is_refused() {
    for mode in [0o620, 0o602, 0o666, 0o664] {
        let (_directory, path) = with_file(b"text", mode);
        let error = read_config(&path, LIMIT).unwrap_err();
        assert!(error.is_permission(), "{mode:o}");
        assert!(problem(Err::<(), _>(error)).contains("chmod go-w"), "{mode:o}");
    }
}
#[test]
fn a_secret_that_others_may_read_is_refused() {
    for mode in [0o604, 0o644, 0o660, 0o700, 0o444] {
        let (_directory, path) = with_file(b"1234", mode);
        assert!(problem(read_secret(&path)).contains("chmod 0600"), "{mode:o}");
    }
}
#[test]
fn only_a_credential_of_root_may_show_its_access_list_as_group_bits() {
    let (_directory, path) = with_file(b"1234", 0o440);
    if !Uid::effective().is_root() {
        assert!(problem(read_secret(&path)).contains("chmod 0600"));
        return;
    }
    chown(&path, None, Some(Gid::from_raw(0))).unwrap();
    assert_eq!(read_secret(&path).unwrap().expose_secret(), "1234");
    chown(&path, None, Some(Gid::from_raw(4321))).unwrap();
    assert!(problem(read_secret(&path)).contains("chmod 0600"));
}
#[test]
fn a_symbolic_link_is_refused() {
    let (directory, path) = with_file(b"text", 0o600);
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(problem(read_config(&link, LIMIT)).contains("symbolic link"));
    assert!(problem(read_secret(&link)).contains("symbolic link"));
}
#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    assert!(problem(read_config(&fifo, LIMIT)).contains("not a regular file"));
    assert!(problem(read_secret(&fifo)).contains("not a regular file"));
    assert!(problem(read_config(directory.path(), LIMIT)).contains("not a regular file"));
    assert!(problem(read_config(Path::new("/"), LIMIT)).contains("file name"));
    assert!(problem(read_config(Path::new("/etc/.."), LIMIT)).contains("file name"));
}
#[test]
fn size_and_text_are_checked() {
    let (_directory, path) = with_file(&[b'x'; LIMIT as usize + 1], 0o600);
    assert!(problem(read_config(&path, LIMIT)).contains("larger than 64 bytes"));
    let (_directory, path) = with_file(&[b'x'; SECRET_LIMIT], 0o600);
    assert_eq!(read_secret(&path).unwrap().expose_secret().len(), SECRET_LIMIT);
    let (_directory, path) = with_file(&[b'x'; SECRET_LIMIT + 1], 0o600);
    assert!(problem(read_secret(&path)).contains("too long"));
    let (_directory, path) = with_file(b"\xff\xfe", 0o600);
    assert!(problem(read_config(&path, LIMIT)).contains("UTF-8"));
    assert!(problem(read_secret(&path)).contains("UTF-8"));
    for empty in ["", "\n", "\r\n"] {
        let (_directory, path) = with_file(empty.as_bytes(), 0o600);
        assert!(problem(read_secret(&path)).contains("is empty"));
    }
}
#[test]
fn a_missing_file_is_no_matter_of_rights() {
    let directory = tempfile::tempdir().unwrap();
    let error = read_config(&directory.path().join("none"), LIMIT).unwrap_err();
    assert!(!error.is_permission());
    assert!(!error.to_string().contains("No such file"), "the source says that");
}
#[test]
fn a_directory_that_others_may_write_to_is_refused_unless_sticky() {
    let (directory, path) = with_file(b"text", 0o600);
    set_mode(directory.path(), 0o777);
    assert!(problem(read_config(&path, LIMIT)).contains("chmod o-w"));
    assert!(problem(write_atomic(&path, b"new")).contains("chmod o-w"));
    assert!(problem(private_dir(&path)).contains("chmod o-w"));
    set_mode(directory.path(), 0o1777);
    assert_eq!(read_config(&path, LIMIT).unwrap(), "text");
}
#[test]
fn a_strange_owner_is_refused() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: giving a file away needs root");
        return;
    }
    let (directory, path) = with_file(b"text", 0o600);
    let stranger = Some(Uid::from_raw(4321));
    chown(&path, stranger, None).unwrap();
    assert!(problem(read_config(&path, LIMIT)).contains("belongs to uid 4321"));
    assert!(problem(read_secret(&path)).contains("belongs to uid 4321"));
    assert!(problem(check_trusted_path(&path)).contains("belongs to uid 4321"));
    chown(&path, Some(Uid::from_raw(0)), None).unwrap();
    chown(directory.path(), stranger, None).unwrap();
    assert!(problem(read_config(&path, LIMIT)).contains("belongs to uid 4321"));
    let inner = directory.path().join("inner");
    assert!(problem(private_dir(&inner)).contains("belongs to uid 4321"));
    chown(directory.path(), Some(Uid::from_raw(0)), None).unwrap();
    private_dir(&inner).unwrap();
    chown(&inner, stranger, None).unwrap();
    assert!(problem(private_dir(&inner)).contains("belongs to uid 4321"));
}
#[test]
fn a_private_directory_is_made_once_and_checked_ever_after() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    private_dir(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    private_dir(&path).unwrap();
    set_mode(&path, 0o755);
    private_dir(&path).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        set_mode(&path, mode);
        assert!(problem(private_dir(&path)).contains("chmod go-w"), "{mode:o}");
    }
    let link = directory.path().join("link");
    symlink(directory.path(), &link).unwrap();
    assert!(problem(private_dir(&link)).contains("symbolic link or a file"));
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(problem(private_dir(&file)).contains("symbolic link or a file"));
}
#[test]
fn a_file_is_replaced_as_a_whole() {
    let (directory, path) = with_file(b"old", 0o644);
    write_atomic(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // A link is replaced, not followed.
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    write_atomic(&link, b"other").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    // A directory cannot be replaced by a file, and nothing is left behind.
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    assert!(matches!(write_atomic(&inner, b"x"), Err(SecureFileError::Io { action: "write", .. })));
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 3, "file, link and inner");
}
#[test]
fn many_writers_leave_one_whole_file() {
    let (directory, path) = with_file(b"", 0o600);
    std::thread::scope(|scope| {
        for byte in b'a'..=b'h' {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..10 {
                    write_atomic(path, &[byte; 1000]).unwrap();
                }
            });
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() == 1000 && bytes.iter().all(|byte| *byte == bytes[0]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
#[test]
fn a_trusted_path_is_trusted_all_the_way() {
    check_trusted_path(Path::new("/usr/bin/env")).unwrap();
    let (directory, path) = with_file(b"", 0o755);
    check_trusted_path(&path).unwrap();
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    check_trusted_path(&link).unwrap();
    set_mode(&path, 0o775);
    assert!(problem(check_trusted_path(&link)).contains("chmod go-w"));
    set_mode(&path, 0o755);
    set_mode(directory.path(), 0o775);
    assert!(problem(check_trusted_path(&path)).contains("chmod go-w"));
    let missing = check_trusted_path(&directory.path().join("none"));
    assert!(matches!(missing, Err(SecureFileError::Io { action: "find", .. })));
}

#[test]
fn a_public_file_is_open_to_all_and_written_only_when_it_differs() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("public");
    public_dir(&place).unwrap();
    public_dir(&place).unwrap();
    let path = place.join("file");
    let seen = || {
        let found = fs::metadata(&path).unwrap();
        (found.ino(), found.mode() & 0o7777, fs::read(&path).unwrap())
    };
    write_public(&path, b"one").unwrap();
    assert_eq!(
        (fs::metadata(&place).unwrap().mode() & 0o7777, seen().1, seen().2),
        (0o755, 0o644, b"one".to_vec())
    );
    let first = seen();
    write_public(&path, b"one").unwrap();
    assert_eq!(seen(), first);
    for other in [&b"on"[..], b"one ", b"two", b""] {
        write_public(&path, other).unwrap();
        assert_eq!((seen().1, seen().2), (0o644, other.to_vec()));
    }
    // A link is replaced, and what it leads to is not touched.
    let outside = directory.path().join("outside");
    fs::write(&outside, "kept").unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&outside, &path).unwrap();
    write_public(&path, b"three").unwrap();
    assert_eq!((fs::read(&outside).unwrap(), seen().2), (b"kept".to_vec(), b"three".to_vec()));
    set_mode(&place, 0o777);
    assert!(problem(write_public(&path, b"four")).contains("others may write"));
    assert!(problem(public_dir(&place)).contains("writable by group or others"));
}

#[test]
fn a_public_directory_is_not_made_where_the_group_could_swap_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("public");
    for mode in [0o770, 0o775, 0o757] {
        set_mode(directory.path(), mode);
        assert!(problem(public_dir(&place)).contains("chmod go-w"), "{mode:o}");
        assert!(!place.exists(), "{mode:o}");
    }
    set_mode(directory.path(), 0o1770);
    public_dir(&place).unwrap();
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o7777, 0o755);
    // A link is neither followed nor is what it leads to changed.
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    set_mode(&outside, 0o700);
    let link = directory.path().join("link");
    symlink(&outside, &link).unwrap();
    assert!(problem(public_dir(&link)).contains("symbolic link or a file"));
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o700);
}
