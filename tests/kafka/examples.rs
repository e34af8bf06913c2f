//! The consumers in `deploy/examples`: replayed from the beginning, they leave the same table.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use weir_tests::{PATIENCE, binaries, skip};

use crate::client::built;
use crate::stage::Stage;

/// Readings that go into the table.
const ROWS: u64 = 10_000;

/// A program of the examples: what was built for it, and how it is started.
struct Example {
    built: &'static str,
    program: PathBuf,
    first: Vec<PathBuf>,
}

fn python() -> Example {
    let script = binaries().root.join("deploy/examples/python/readings_to_table.py");
    Example { built: "python", program: built().join("python/bin/python"), first: vec![script] }
}

fn java() -> Example {
    let at = built().join("java-example");
    let classes = format!("{0}/readings-to-table.jar:{0}/dependency/*", at.display());
    let first = vec!["-cp".into(), classes.into(), "example.ReadingsToTable".into()];
    Example { built: "java-example", program: "java".into(), first }
}

/// Runs `command` to its end and returns what it printed.
async fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All rows of a table, as text.
async fn rows(table: &Path) -> Vec<String> {
    let print = "import sqlite3, sys\n\
                 for row in sqlite3.connect(sys.argv[1]).execute('SELECT * FROM readings ORDER BY 1, 2, 3, 4'): print(row)";
    let printed = run(Command::new("python3").args(["-c", print]).arg(table)).await;
    printed.lines().map(str::to_owned).collect()
}

async fn leaves_the_same_table_when_it_is_replayed(example: Example) {
    if !built().join(example.built).join("made-of").is_file() {
        return skip(&format!("the example {} is not built; type: tests/run kafka", example.built));
    }
    let stage = Stage::empty("", "").await;
    stage.store(0, ROWS).await;
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("readings.db");
    let consume = || {
        let mut command = Command::new(&example.program);
        command.args(&example.first).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(["--bootstrap", &stage.kafka.to_string()]);
        command.args(["--registry", &format!("http://{}", stage.deployment.http)]);
        command.args(["--until", &ROWS.to_string()]).arg("--table").arg(&table);
        command
    };
    run(&mut consume()).await;
    let first = rows(&table).await;
    assert_eq!(first.len() as u64, ROWS);

    let mut reset = Command::new(&binaries().gateway);
    reset.arg("group").arg("reset").arg("table").args(["--to", "earliest"]);
    reset.arg("--config").arg(stage.deployment.scratch.join("gateway.toml"));
    run(&mut reset).await;
    run(&mut consume()).await;
    assert_eq!(rows(&table).await, first, "the rows after a replay");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_leaves_the_same_table_when_it_is_replayed() {
    leaves_the_same_table_when_it_is_replayed(python()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_example_leaves_the_same_table_when_it_is_replayed() {
    leaves_the_same_table_when_it_is_replayed(java()).await;
}
