//! Which topic filters a client may subscribe to: those of the live readings of its own tenant.

use rumqttc::mqttbytes::valid_filter;
use weir_protocol::Tenant;
use weir_protocol::mqtt::{LIVE, PREFIX};

/// The longest filter, in bytes; a live topic with an ordinary channel name has room in it several times.
pub const MAX_FILTER: usize = 256;

/// Why a filter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// No filter of MQTT, a shared one, or longer than [`MAX_FILTER`].
    Invalid,
    /// It would reach beyond `weir/1/{tenant}/live/`.
    Outside,
}

/// Checks a filter of a client of `tenant`: `weir/1/{tenant}/live/` and anything behind it, wildcards too.
///
/// # Errors
/// [`FilterError`] says which code the client gets.
pub fn check(tenant: Tenant, filter: &str) -> Result<(), FilterError> {
    let shared = filter.starts_with("$share/");
    if filter.len() > MAX_FILTER || shared || filter.contains('\0') || !valid_filter(filter) {
        return Err(FilterError::Invalid);
    }
    // The parts in front must be there letter by letter: a wildcard among them would reach other tenants.
    let behind = filter
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix(tenant.as_str()))
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.strip_prefix(LIVE))
        .and_then(|rest| rest.strip_prefix('/'));
    behind.filter(|rest| !rest.is_empty()).map(|_| ()).ok_or(FilterError::Outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_stays_within_the_live_readings_of_its_tenant() {
        let check = |filter: &str| check(Tenant::DEFAULT, filter);
        for good in ["#", "+/temperature", "pump-1/#", "pump-1/+", "+/+", "pump-1/temperature"] {
            assert_eq!(check(&format!("weir/1/default/live/{good}")), Ok(()), "{good}");
        }
        for outside in [
            "#",
            "+/#",
            "weir/#",
            "weir/1/+/live/#",
            "weir/1/default/#",
            "weir/1/default/+/pump-1/#",
            "weir/1/default/live",
            "weir/1/default/live/",
            "weir/1/default2/live/#",
            "weir/1/other/live/#",
            "weir/1/default/edge-1/command",
            "weir/1/default/edge-1/batch",
            "$SYS/#",
            "/weir/1/default/live/#",
        ] {
            assert_eq!(check(outside), Err(FilterError::Outside), "{outside}");
        }
        let long = format!("weir/1/default/live/{}", "a".repeat(MAX_FILTER));
        for invalid in [
            "",
            "$share/group/weir/1/default/live/#",
            "weir/1/default/live/#/more",
            "weir/1/default/live/pump#",
            "weir/1/default/live/pump+/x",
            "weir/1/default/live/a\0b",
            &long,
        ] {
            assert_eq!(check(invalid), Err(FilterError::Invalid), "{invalid}");
        }
    }
}
