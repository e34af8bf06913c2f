//! Names out of topics: `boiler`, `{2}` or `{1}.{3}`, where a number stands for a level of the topic, the first is 1,
//! and `{topic}` for all of them with dots between.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A name with places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Level(usize),
    Topic,
}

/// The most levels that may be asked for.
const MAX_LEVEL: usize = 64;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("got {what:?}, expected {{1}} to {{{MAX_LEVEL}}}, or {{topic}}"));
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(start) = rest.find('{') {
            let Some(length) = rest[start..].find('}') else { return wrong(&rest[start..]) };
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            parts.push(match &rest[start + 1..start + length] {
                "topic" => Part::Topic,
                number => match number.parse() {
                    Ok(level) if (1..=MAX_LEVEL).contains(&level) => Part::Level(level),
                    _ => return wrong(&rest[start..=start + length]),
                },
            });
            rest = &rest[start + length + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The name that `topic` makes of it. None: the topic has no such level.
    pub fn fill(&self, topic: &str) -> Option<String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Level(level) => name.push_str(topic.split('/').nth(level - 1)?),
                Part::Topic => name.push_str(&topic.trim_matches('/').replace('/', ".")),
            }
        }
        Some(name)
    }

    /// Whether every topic makes the same name of it.
    pub fn is_fixed(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, topic: &str) -> Option<String> {
        Template::parse(template).unwrap().fill(topic)
    }

    #[test]
    fn levels_of_a_topic_become_a_name() {
        assert_eq!(fill("boiler", "plant/1/temp").as_deref(), Some("boiler"));
        assert_eq!(fill("{2}", "zigbee2mqtt/kitchen").as_deref(), Some("kitchen"));
        assert_eq!(fill("line-{2}.{3}", "plant/1/temp").as_deref(), Some("line-1.temp"));
        assert_eq!(fill("{topic}", "/plant/1/temp").as_deref(), Some("plant.1.temp"));
        assert_eq!(fill("{4}", "plant/1/temp"), None);
        assert_eq!(fill("", "plant").as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for wrong in ["{0}", "{65}", "{", "a{b}", "{1", "{-1}", "{}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Template::parse("boiler").unwrap().is_fixed() && !Template::parse("{1}").unwrap().is_fixed());
    }
}
