//! What collectd's `write_http` sends with `Format "JSON"` (collectd.conf(5), collectd's plain data structure "value
//! list"): an array of lists of values that belong together.
//!
//! A channel is called `plugin.type`, each with its instance behind a dash, and behind them the name of the value unless
//! that is `value`. Gauges are doubles; counters, derives and absolutes are integers as collectd read them, not rates.

use serde::Deserialize;
use serde_json::Number;
use weir_protocol::{DeviceId, Timestamp};

use super::line::{Field, Line};
use crate::source::name::{self, MAX_GIVEN};

/// Values that were read together.
#[derive(Clone, Debug, Deserialize)]
pub struct ValueList {
    /// Null where a gauge has no value.
    values: Vec<Option<Number>>,
    dsnames: Vec<String>,
    dstypes: Vec<String>,
    /// Seconds since 1970.
    #[serde(default)]
    time: Option<f64>,
    #[serde(default)]
    host: String,
    plugin: String,
    #[serde(default)]
    plugin_instance: String,
    r#type: String,
    #[serde(default)]
    type_instance: String,
}

impl ValueList {
    /// As a line; `device` is whose it is if it does not say.
    ///
    /// # Errors
    /// Why nothing of it can be a reading.
    pub fn line(&self, device: DeviceId) -> Result<Line<'static>, String> {
        if self.values.len() != self.dsnames.len() || self.values.len() != self.dstypes.len() {
            let (values, names) = (self.values.len(), self.dsnames.len());
            return Err(format!("got {values} values with {names} names and {} types", self.dstypes.len()));
        }
        let length = self.parts().iter().map(|part| part.len()).sum::<usize>();
        if length > MAX_GIVEN {
            return Err(format!("plugin and type have {length} bytes, at most {MAX_GIVEN} can be a name"));
        }
        let device = if self.host.is_empty() { Some(device) } else { name::device(&self.host) };
        let time = self.time.filter(|time| time.is_finite()).map(|time| Timestamp((time * 1e6) as i64));
        let values = self.values.iter().zip(self.dsnames.iter().zip(&self.dstypes));
        let fields =
            values.filter_map(|(value, (name, kind))| Some((self.channel(name), field(value.as_ref()?, kind))));
        Ok(Line { device: device.ok_or("the host has no name")?, time, fields: fields.collect() })
    }

    /// What the names of all its channels begin with.
    fn parts(&self) -> [&str; 4] {
        [&self.plugin, &self.plugin_instance, &self.r#type, &self.type_instance].map(String::as_str)
    }

    fn channel(&self, value: &str) -> String {
        let named = |name: &str, instance: &str| match instance {
            "" => name.to_owned(),
            instance => format!("{name}-{instance}"),
        };
        let mut shown =
            format!("{}.{}", named(&self.plugin, &self.plugin_instance), named(&self.r#type, &self.type_instance));
        let parts = self.parts();
        let all = format!("{}/{value}", parts.join("/"));
        if value != "value" {
            shown.push('.');
            shown.push_str(value);
        }
        let is_exact =
            parts.iter().all(|part| !part.contains('.')) && !self.plugin.contains('-') && !self.r#type.contains('-');
        name::channel_of(shown, || all, is_exact)
    }
}

fn field(value: &Number, kind: &str) -> Result<Field<'static>, String> {
    let whole = || value.as_i64().map(Field::Integer).ok_or_else(|| format!("{value} is above 2^63 - 1"));
    let measured = || value.as_f64().filter(|value| value.is_finite()).map(Field::Double);
    match kind {
        "gauge" => measured().ok_or_else(|| format!("{value} is too large")),
        "counter" | "derive" | "absolute" => whole(),
        other => Err(format!("type {other:?} is none of gauge, counter, derive and absolute")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str) -> Vec<Line<'static>> {
        let lists: Vec<ValueList> = serde_json::from_str(json).unwrap();
        lists.iter().map(|list| list.line(DeviceId::new("box").unwrap()).unwrap()).collect()
    }

    #[test]
    fn value_lists_as_collectd_writes_them() {
        let lines = lines(
            r#"[{"values":[197141504,175136768],"dstypes":["derive","derive"],"dsnames":["read","write"],
                 "time":1251533299.265,"interval":10.000,"host":"leeloo.lan","plugin":"disk","plugin_instance":"sda",
                 "type":"disk_octets","type_instance":""},
                {"values":[null],"dstypes":["gauge"],"dsnames":["value"],"time":1251533299,"interval":10,
                 "host":"","plugin":"sensors","plugin_instance":"","type":"temperature","type_instance":"temp1"},
                {"values":[1.5],"dstypes":["gauge"],"dsnames":["value"],"plugin":"load","type":"load"}]"#,
        );
        assert_eq!((lines[0].device.as_str(), lines[0].time), ("leeloo.lan", Some(Timestamp(1_251_533_299_265_000))));
        let expected = [
            ("disk-sda.disk_octets.read".to_owned(), Ok(Field::Integer(197_141_504))),
            ("disk-sda.disk_octets.write".to_owned(), Ok(Field::Integer(175_136_768))),
        ];
        assert_eq!(lines[0].fields, expected);
        assert_eq!(
            (lines[1].device.as_str(), lines[1].fields.len()),
            ("box", 0),
            "a gauge without a value is no reading"
        );
        assert_eq!(lines[2].fields, [("load.load".to_owned(), Ok(Field::Double(1.5)))]);
        assert_eq!(lines[2].time, None);
    }

    #[test]
    fn a_list_with_an_endless_name_is_refused() {
        let plugin = "x".repeat(100_000);
        let list =
            format!(r#"[{{"values":[1],"dstypes":["gauge"],"dsnames":["value"],"plugin":"{plugin}","type":"t"}}]"#);
        let lists: Vec<ValueList> = serde_json::from_str(&list).unwrap();
        let refused = lists[0].line(DeviceId::new("box").unwrap()).unwrap_err();
        assert_eq!(refused, "plugin and type have 100001 bytes, at most 1024 can be a name");
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        let list = r#"[{"values":[1,2],"dstypes":["gauge"],"dsnames":["value"],"plugin":"load","type":"load"}]"#;
        let lists: Vec<ValueList> = serde_json::from_str(list).unwrap();
        assert!(lists[0].line(DeviceId::new("box").unwrap()).unwrap_err().contains("2 values with 1 names"));
    }
}
