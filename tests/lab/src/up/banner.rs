//! What a person needs to play with the run: addresses, process ids, lines to paste.

use super::kcat;
use crate::deployment::Deployment;
use crate::relay::seal::SERVER;

/// Prints it once, above the table.
pub(super) fn print(deployment: &Deployment) {
    let (http, mqtt, kafka) = (deployment.http, deployment.mqtt, deployment.kafka);
    println!("running in {}", deployment.scratch.path().display());
    println!("seed {}", deployment.plan.seed);
    match &deployment.trust {
        Some(trust) => println!("  gateway  MQTT over TLS {}   HTTP https://{http}   Kafka {kafka}", trust.mqtts),
        None => println!("  gateway  MQTT {mqtt}   HTTP http://{http}   Kafka {kafka}"),
    }
    println!("  network  the agent reaches the gateway through the lab's relay at {}", deployment.network.address);
    for board in &deployment.boards {
        println!("  {:<8} serial {}", board.member.program.name, board.cable.agent.display());
    }
    println!("\nkill anything, at any time; it is started again:");
    println!("  kill -9 {:<8} # gateway", deployment.gateway.pid());
    println!("  kill -9 {:<8} # agent", deployment.agent.pid());
    for board in &deployment.boards {
        println!("  kill -9 {:<8} # {}", board.member.pid(), board.member.program.name);
    }
    println!("\nlook into the log:");
    let (curl, base) = match &deployment.trust {
        Some(trust) => {
            (format!("curl --cacert {}", trust.authority.display()), format!("https://{SERVER}:{}", http.port()))
        }
        None => ("curl".to_owned(), format!("http://{http}")),
    };
    println!("  {curl} {base}/topics");
    println!("  {curl} '{base}/topics/readings/partitions/0/records?offset=0&limit=5'");
    println!("  {curl} -N {base}/topics/readings/tail");
    // kcat has no way to be told the authority of a registry.
    println!("  {}", kcat::line(kafka, deployment.trust.is_none().then_some(http)));
    println!("  {curl} {base}/groups");
    println!("  {curl} {base}/subjects");
    match &deployment.trust {
        Some(trust) => println!("  openssl x509 -noout -subject -enddate -in {}", trust.device.display()),
        None => {
            println!("  mosquitto_sub -h {} -p {} -i my-view -v -t 'weir/1/default/live/#'", mqtt.ip(), mqtt.port())
        }
    }
    if deployment.trust.is_none() {
        println!("\nload it, from another terminal:");
        println!("  cargo lab load --gateway {mqtt} --http {http} --kafka {kafka}");
    }
    println!("\nCtrl-C drains and compares the lab's ledger with the log.\n");
}
