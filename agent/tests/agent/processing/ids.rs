//! Which channel ids rules give.

use weir_protocol::batch::describe;

use super::{temperatures, told};

/// What an id has been at the gateway it has to stay: another unit under it is a dead letter there.
#[test]
fn what_a_rule_makes_has_an_id_of_its_own_whatever_rules_are_added_beside_it() {
    let described = |rules: &str| {
        let (desk, _) = told(rules, &temperatures(&[20.0]));
        let payloads: Vec<Vec<u8>> = desk.queue.state().lock().descriptions.payloads().map(<[u8]>::to_vec).collect();
        let mut channels = Vec::new();
        for payload in &payloads {
            let description = describe::decode(payload).expect("a description");
            channels.extend(
                description
                    .channels
                    .iter()
                    .flatten()
                    .map(|channel| (channel.id, channel.name.to_owned(), channel.unit.to_owned(), channel.kind)),
            );
        }
        channels
    };
    let kelvin = "[[process]]\nchannel = \"temperature\"\nunit = \"K\"\n";
    let more = "[[process]]\nchannel = \"*\"\nwindow = \"1s\"\ntake = [\"last\", \"mean\", \"count\"]\n";
    let (one, both) = (described(kelvin), described(&format!("{kelvin}{more}")));
    let found = |channels: &[_], name: &str, unit: &str| {
        let fits = |(_, of, is, _): &&(_, String, String, _)| of == name && is == unit;
        channels.iter().find(fits).map(|(id, ..)| *id)
    };
    assert!(found(&one, "temperature", "K").is_some() && found(&both, "pressure.mean", "hPa").is_some(), "{both:?}");
    assert_eq!(found(&one, "temperature", "K"), found(&both, "temperature", "K"));
    for (id, name, unit, kind) in &both {
        let other = both.iter().find(|other| other.0 == *id && (&other.2, other.3) != (unit, *kind));
        assert_eq!(other, None, "{name} {unit} has the id of another channel: {both:?}");
    }
}
