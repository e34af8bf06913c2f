//! `deadletter redrive`: the running gateway tries dead letters again, and says letter by letter what came of it.

use serde_json::{Value, json};
use weir_protocol::DeviceId;

use super::print::{Printer, bare};
use super::source::Source;
use super::{Failed, RedriveArgs};
use crate::config::Config;
use crate::redrive::{Choice, Place};

pub(super) fn redrive(config: &Config, args: &RedriveArgs, printer: &mut Printer) -> Result<(), Failed> {
    // A running gateway says the same; a mistake on the command line needs none to be found.
    let places: Result<Vec<Place>, _> = args.places.iter().map(|place| place.parse()).collect();
    let device: Option<DeviceId> = args
        .device
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| Failed::usage(format!("--device: {error}")))?;
    Choice::new(places.map_err(Failed::usage)?, args.reason.clone(), device, args.all).map_err(Failed::usage)?;
    let asked = json!({
        "places": args.places,
        "reason": args.reason,
        "device": args.device,
        "all": args.all,
        "dry_run": args.dry_run,
    });
    super::block_on(async {
        let Source::Gateway(client) = Source::open(config).await? else {
            return Err(Failed::unavailable(
                "no gateway runs on this data, and only a running one can store; start it (`weir-gateway run`)",
            ));
        };
        let mut lines = client.post("/deadletters/redrive", &asked).await?;
        let mut missing = false;
        while let Some(line) = lines.next().await? {
            if let Some(error) = line.get("error") {
                return Err(Failed::runtime(bare(error)));
            }
            if let Some(done) = line.get("done") {
                let text = format!(
                    "{} tried, {} readings stored, {} still refused",
                    done["tried"], done["stored"], done["refused"]
                );
                printer.line(text, &line)?;
                return if missing { Err(Failed::runtime("some of these dead letters do not exist")) } else { Ok(()) };
            }
            missing |= line["result"] == "missing";
            printer.line(sentence(&line), &line)?;
        }
        Err(Failed::unavailable("the gateway closed the stream; it was stopped. Do it again: nothing is stored twice"))
    })
}

fn sentence(tried: &Value) -> String {
    let (place, reason) = (bare(&tried["place"]), bare(&tried["reason"]));
    let (stored, left) = (&tried["stored"], &tried["left"]);
    match tried["result"].as_str().unwrap_or_default() {
        "stored" => format!("{place}  stored {stored}"),
        "already-stored" => format!("{place}  already stored"),
        "due" => format!("{place}  would be tried: {left} buried for {reason}"),
        "missing" => format!("{place}  {reason}"),
        _ => format!("{place}  still refused: {reason}; stored {stored}, left {left}"),
    }
}
