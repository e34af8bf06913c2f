//! `bundle`: an archive that helps, and gives nothing away.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::process::{Place, text};
use crate::support::local::get;

/// Names and texts of what is in an archive.
fn contents(archive: &Path) -> BTreeMap<String, String> {
    let file = std::fs::File::open(archive).expect("an archive");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut found = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        found.insert(name, text);
    }
    found
}

/// Secrets in every place where people put them: none of them, and no byte of a key file, is in the archive.
#[test]
fn no_secret_that_was_planted_is_in_the_archive() {
    let place = Place::with_data(
        "# the old password was PLANTED-comment\n\
         [uplink]\naddress = \"127.0.0.1:1\"\nusername = \"edge-1\"\npassword_file = \"PASSWORDS\"\n\
         proxy = \"http://joe:PLANTED-proxy@127.0.0.1:2\"\n\
         [[exec]]\ndevice = \"ups\"\ncommand = [\"/bin/echo\", \"--token\", \"PLANTED-argument\"]\n",
    );
    let passwords = place.path().join("passwords");
    std::fs::write(&passwords, "PLANTED-password\n").expect("a file");
    let identity = place.data().join("identity");
    std::fs::create_dir_all(&identity).expect("a directory");
    std::fs::write(identity.join("device.pem"), "PLANTED-key\n").expect("a file");
    let settings = std::fs::read_to_string(place.config()).expect("the settings");
    let settings = settings.replace("PASSWORDS", &passwords.display().to_string());
    std::fs::write(place.config(), settings).expect("a file");
    let _agent = place.start();
    get(&place.data().join("agent.sock"), "/version");

    let target = place.path().join("bundle.tar.gz");
    let target_text = target.display().to_string();
    let made = place.command(&["bundle", &target_text, "--output", "json"]);
    let made = { made }.env("WEIR_AGENT_UPLINK__USERNAME", "PLANTED-token=abc").output().expect("it starts");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let told: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let found = contents(&target);
    assert_eq!(told["files"].as_array().map(Vec::len), Some(found.len()), "what is in it is printed");
    for (name, text) in &found {
        assert!(!text.contains("PLANTED"), "{name}: {text}");
    }
    assert_eq!(std::fs::metadata(&target).expect("a file").permissions().mode() & 0o777, 0o600);

    let file = |name: &str| found.get(&format!("weir-bundle/{name}")).unwrap_or_else(|| panic!("no {name}")).as_str();
    let settings: serde_json::Value = serde_json::from_str(file("settings.json")).expect("JSON");
    assert_eq!(settings["uplink"]["proxy"], "http://[redacted]@127.0.0.1:2");
    assert_eq!(settings["exec"][0]["command"][0], "/bin/echo");
    let status: serde_json::Value = serde_json::from_str(file("status.json")).expect("JSON");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(file("metrics.txt").contains("weir_agent_events_total"));
    assert!(file("doctor.txt").contains("PROBLEM  gateway"), "{}", file("doctor.txt"));
    assert!(file("files.txt").contains("identity/device.pem"), "that the key is there is told");
    assert!(file("queue-verify.json").contains("\"damage\": []"), "{}", file("queue-verify.json"));
    assert!(file("about.txt").starts_with("weir-agent "));

    let again = place.output(&["bundle", &target_text]);
    assert_eq!((again.status.code(), contents(&target).len()), (Some(1), found.len()), "it replaces nothing");
}

#[test]
fn wrong_settings_are_told_without_the_line_that_is_wrong() {
    let place = Place::new("[uplink]\nproxy = \"joe:PLANTED@nowhere\"\n");
    let target = place.path().join("bundle.tar.gz");
    let made = place.output(&["bundle", &target.display().to_string()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let found = contents(&target);
    assert!(found.values().all(|text| !text.contains("PLANTED")), "{found:?}");
    assert_eq!(found["weir-bundle/validate.txt"], "the settings are wrong at line 2, column 9");
    assert!(text(&made.stdout).contains("validate.txt"), "{}", text(&made.stdout));
}
