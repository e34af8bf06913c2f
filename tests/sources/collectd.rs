//! `[line_protocol]` and collectd's `write_http`, which sends its own JSON.

use std::fs;
use std::path::Path;

use serde_json::json;
use weir_lab::ports::Reserved;
use weir_lab::process::Program;
use weir_tests::{binaries, skip};

use crate::stage::Stage;

/// Where Debian puts it.
const COLLECTD: &str = "/usr/sbin/collectd";

#[tokio::test(flavor = "multi_thread")]
async fn what_collectd_reads_is_in_the_log() {
    if !Path::new(COLLECTD).is_file() {
        return skip("collectd is not installed; type: apt-get install collectd-core");
    }
    let reserved = Reserved::new(0).unwrap();
    let stage = Stage::start(&format!(
        "[line_protocol]\nlisten = \"{}\"\n[[line_protocol.unit]]\nchannel = \"table-tank.temperature*\"\nunit = \"Cel\"\n",
        reserved.address
    ))
    .await;
    let at = |name: &str| stage.deployment.scratch.join(name);
    fs::write(at("tank"), "21.75 3\n").unwrap();
    let settings = format!(
        r#"Hostname "edge-11"
Interval 0.2
BaseDir "{base}"
PIDFile "{base}/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin table
LoadPlugin write_http
<Plugin table>
  <Table "{tank}">
    Instance "tank"
    Separator " "
    <Result>
      Type "temperature"
      ValuesFrom 0
    </Result>
  </Table>
</Plugin>
<Plugin write_http>
  <Node "weir">
    URL "http://{address}/collectd"
    Format "JSON"
    BufferSize 4096
  </Node>
</Plugin>
"#,
        base = stage.deployment.scratch.path().display(),
        tank = at("tank").display(),
        address = reserved.address,
    );
    fs::write(at("collectd.conf"), settings).unwrap();
    let program = Program {
        name: "collectd".to_owned(),
        guard: binaries().lab.clone(),
        path: COLLECTD.into(),
        arguments: vec!["-f".into(), "-C".into(), at("collectd.conf").into()],
        environment: Vec::new(),
        log: at("collectd.log"),
    };
    let mut collectd = program.start().unwrap();
    stage.expect("edge-11", &[("table-tank.temperature", "Cel", json!(21.75))]).await;
    collectd.kill().await.unwrap();
    stage.end().await;
}
