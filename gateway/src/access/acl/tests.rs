use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn client(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

fn rules(of: &[(&str, &[&str], &[&str])]) -> Rules {
    Rules::enforced(
        of.iter().map(|(clients, publish, subscribe)| Rule::new(clients, publish, subscribe).unwrap()).collect(),
    )
}

fn may_publish(rules: &Rules, name: &str, topic: &str) -> bool {
    rules.verdict(Tenant::DEFAULT, &client(name), Action::Publish, topic).is_allowed()
}

fn may_subscribe(rules: &Rules, name: &str, filter: &str) -> bool {
    rules.verdict(Tenant::DEFAULT, &client(name), Action::Subscribe, filter).is_allowed()
}

#[test]
fn without_rules_everybody_may_do_everything_and_with_none_nobody_may_do_anything() {
    assert!(may_publish(&Rules::open(), "a", "any/thing") && may_subscribe(&Rules::open(), "a", "#"));
    let none = Rules::enforced(Vec::new());
    assert!(!may_publish(&none, "a", "any/thing") && !may_subscribe(&none, "a", "#"));
}

#[test]
fn an_agent_has_its_own_topics_and_not_those_of_another() {
    let none = Rules::enforced(Vec::new());
    assert!(may_publish(&none, "edge-1", "weir/1/default/edge-1/batch"));
    assert!(may_subscribe(&none, "edge-1", "weir/1/default/edge-1/command"));
    assert!(may_subscribe(&none, "edge-1", "weir/1/default/edge-1/config"));
    assert!(may_subscribe(&none, "edge-1", "weir/1/default/edge-1/do"));
    assert!(may_subscribe(&none, "edge-1", "weir/1/default/edge-1/do/+"));
    assert!(may_publish(&none, "edge-1", "weir/1/default/edge-1/do/c-1"), "to say that it is decided on");
    assert!(!may_publish(&none, "edge-1", "weir/1/default/edge-2/do/c-1"));
    let of_operators = ["weir/1/default/edge-1/command", "weir/1/default/edge-1/config", "weir/1/default/edge-1/do"];
    for topic in ["weir/1/default/edge-2/batch", "weir/1/acme/edge-1/batch"].into_iter().chain(of_operators) {
        assert!(!may_publish(&none, "edge-1", topic), "{topic}");
    }
    for filter in ["weir/1/default/edge-2/command", "weir/1/default/+/command", "weir/1/default/edge-1/#", "#"] {
        assert!(!may_subscribe(&none, "edge-1", filter), "{filter}");
    }
    assert!(!may_publish(&none, "edge 1", "weir/1/default/edge 1/batch"), "no agent has such a name");
}

#[test]
fn a_device_uses_what_is_its_own_and_a_viewer_sees_all_devices() {
    let rules = rules(&[
        ("pump-*", &["plant/{client}/#"], &["plant/{device}/commands", "plant/all/commands"]),
        ("viewer", &[], &["plant/+/status"]),
    ]);
    assert!(may_publish(&rules, "pump-1", "plant/pump-1/temperature"));
    assert!(!may_publish(&rules, "pump-1", "plant/pump-2/temperature"));
    assert!(may_subscribe(&rules, "pump-1", "plant/pump-1/commands"));
    assert!(!may_subscribe(&rules, "pump-1", "plant/+/commands"), "wider than what it may");
    assert!(
        may_subscribe(&rules, "viewer", "plant/+/status") && may_subscribe(&rules, "viewer", "plant/pump-1/status")
    );
    assert!(!may_subscribe(&rules, "viewer", "plant/#"));
    assert!(!may_publish(&rules, "viewer", "plant/viewer/temperature"));
    let verdict = rules.verdict(Tenant::DEFAULT, &client("pump-1"), Action::Publish, "plant/pump-1/x");
    assert!(matches!(verdict, Verdict::Rule(0, filter) if filter.to_string() == "plant/{client}/#"));
}

#[test]
fn a_client_id_with_a_wildcard_or_a_slash_in_it_has_no_topics_of_its_own() {
    let rules = rules(&[("*", &["plant/{client}/x"], &["plant/{client}/x"])]);
    for name in ["+", "#", "a/b", "a+"] {
        assert!(!may_publish(&rules, name, &format!("plant/{name}/x")), "{name}");
        assert!(!may_subscribe(&rules, name, &format!("plant/{name}/x")), "{name}");
    }
}

#[test]
fn a_rule_of_a_tenant_is_of_no_other() {
    let rules = rules(&[("acme/pump-*", &["{tenant}/#"], &[])]);
    let acme = Tenant::new("acme").unwrap();
    let of = |tenant, topic| rules.verdict(tenant, &client("pump-1"), Action::Publish, topic).is_allowed();
    assert!(of(acme, "acme/x") && !of(acme, "default/x") && !of(Tenant::DEFAULT, "default/x"));
}

#[test]
fn what_looks_like_a_rule_and_is_none_is_said() {
    for (filter, why) in [
        ("", "0 bytes"),
        ("a/#/b", "whole levels"),
        ("a/b+", "whole levels"),
        ("a/{owner}", "no placeholder `{owner}`"),
        ("a/{client", "no placeholder"),
        ("$share/group/a", "shared"),
    ] {
        let error = Rule::new("*", &[filter], &[]).unwrap_err().to_string();
        assert!(error.contains(why), "{filter}: {error}");
    }
    assert!(Rule::new("a b/x", &["a"], &[]).unwrap_err().to_string().contains("no tenant"));
    assert!(Rule::new("a?", &["a"], &[]).is_err());
}

#[test]
fn wider_rules_keep_what_narrower_ones_gave() {
    let narrow = rules(&[("pump-*", &["plant/{client}/#"], &[])]);
    let wide = rules(&[("pump-*", &["plant/{client}/#", "more"], &["x"]), ("other", &[], &[])]);
    let kept = |old: &Rules, new: &Rules, name: &str| old.is_kept_by(new, Tenant::DEFAULT, &client(name));
    assert!(kept(&narrow, &wide, "pump-1") && !kept(&wide, &narrow, "pump-1"));
    assert!(kept(&wide, &narrow, "other"), "it had nothing");
    assert!(kept(&narrow, &Rules::open(), "pump-1") && !kept(&Rules::open(), &narrow, "pump-1"));
}

/// Whether a topic matches a filter, section 4.7 of MQTT 5, said as simply as possible.
fn matches(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([one, filter @ ..], [other, topic @ ..]) => one == other && levels(filter, topic),
            _ => false,
        }
    }
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    !(topic[0].starts_with('$') && matches!(filter[0], "+" | "#")) && levels(&filter, &topic)
}

fn one_of<'a>(rng: &mut StdRng, words: &[&'a str]) -> &'a str {
    words[rng.random_range(0..words.len())]
}

fn random(rng: &mut StdRng, words: &[&'static str], can_end: bool) -> String {
    let mut levels: Vec<_> = (0..rng.random_range(1..4)).map(|_| one_of(rng, words)).collect();
    if can_end && rng.random_bool(0.4) {
        levels.push("#");
    }
    if can_end && rng.random_bool(0.1) {
        return "#".to_owned();
    }
    levels.join("/")
}

/// Covering is exact: what is covered matches nothing outside, and what is not covered matches some topic outside, be it the
/// empty one, which nobody can publish on.
#[test]
fn a_covered_filter_matches_nothing_that_the_rule_does_not() {
    let seed: u64 = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut topics = Vec::new();
    // `z` stands in no filter: a witness for wildcards.
    let names = ["a", "b", "", "$s", "z"];
    for one in names {
        topics.push(one.to_owned());
        for two in names {
            topics.push(format!("{one}/{two}"));
            for three in names {
                topics.push(format!("{one}/{two}/{three}"));
                topics.extend(names.map(|four| format!("{one}/{two}/{three}/{four}")));
                topics.extend(names.map(|five| format!("{one}/{two}/{three}/z/{five}")));
            }
        }
    }
    let (mut yes, mut no) = (0, 0);
    for _ in 0..20_000 {
        let rule = random(&mut rng, &["a", "b", "+", "+", "", "$s"], true);
        let asked = random(&mut rng, &["a", "b", "+", "", "$s"], true);
        let (Ok(template), false) = (Template::new(&rule), rule.is_empty() || asked.is_empty()) else { continue };
        let covers = template.covers(Tenant::DEFAULT, &client("c"), &asked);
        let outside = topics.iter().find(|topic| matches(&asked, topic) && !matches(&rule, topic));
        assert_eq!(covers, outside.is_none(), "seed {seed}: {rule} covers {asked}? {outside:?}");
        if covers { yes += 1 } else { no += 1 }
    }
    assert!(yes > 500 && no > 500, "{yes} covered, {no} not");
}
