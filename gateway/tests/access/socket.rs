//! The operator's socket, `<data>/gateway.sock`.

use std::os::unix::fs::PermissionsExt;

use crate::program::{Program, settings, weir};

/// A data directory whose socket would not fit into an address, which has 107 bytes for it on Linux.
#[test]
fn a_data_directory_with_too_long_a_path_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d".repeat(120));
    let path = settings(dir.path(), &data, "");
    let output = weir(&["run"], &path);
    let why = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{why}");
    assert!(why.contains("a socket's path has up to 107 bytes") && why.contains("a symbolic link"), "{why}");
}

/// What the refusal says to do works: the gateway and the commands beside it go by the short path.
#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_makes_a_long_path_short() {
    let dir = tempfile::tempdir().unwrap();
    let (data, link) = (dir.path().join("d".repeat(120)), dir.path().join("data"));
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let program = Program::start_on(dir, link, "").await;
    let mode = std::fs::metadata(data.join("gateway.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It can only come through the socket: nobody else gets at the files meanwhile.
    program.command(&["token", "list"], "").await;
}
