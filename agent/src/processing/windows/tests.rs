use weir_protocol::Value;

use super::*;

const SECOND: i64 = 1_000_000;
const NOW: (Duration, u64) = (Duration::ZERO, 1);

/// Windows of a second of the restart with this number.
fn key(restart: u32) -> WindowKey {
    WindowKey {
        device: DeviceId::new("board-1").unwrap(),
        restart: Restart::from_boot(1, restart),
        schema: SchemaHash(1),
        summary: SchemaHash(2),
        class: Name::new("default").unwrap(),
        every_us: SECOND,
    }
}

fn reading(channel: u16, second: i64) -> Reading<'static> {
    let time = Timestamp(second * SECOND);
    Reading { channel: ChannelId(channel), time, clock: Clock::Synchronised, value: Value::Integer(1) }
}

/// Folds readings of this channel in, each into a window of its own, until there is no more room; how many.
fn fill(windows: &mut Windows, channel: u16) -> usize {
    let all =
        (0..2 * MAX_WINDOWS as u32).map(|at| windows.fold(key(at), u64::from(channel), &reading(channel, 0), NOW));
    all.take_while(Result::is_ok).count()
}

#[test]
fn there_are_only_so_many_windows_of_many_restarts_or_of_one() {
    let mut windows = Windows::default();
    assert_eq!(fill(&mut windows, 0), MAX_WINDOWS);
    assert_eq!(windows.fold(key(0), 1, &reading(0, 0), NOW), Ok(()), "one that is open goes on");
    assert_eq!(windows.fold(key(0), 2, &reading(0, 1), NOW), Err(Full), "its second is over, and one more is one more");
    assert_eq!(windows.fold(key(0), 3, &reading(0, 0), NOW), Ok(()), "and it is open still");

    let mut windows = Windows::default();
    let of_one = (0..).map(|at| windows.fold(key(0), at, &reading(0, at as i64), NOW));
    assert_eq!(of_one.take(2 * MAX_WINDOWS).take_while(Result::is_ok).count(), MAX_WINDOWS);
    // Summaries make room: of all that are closed.
    assert_eq!(windows.take_ready(1).len(), MAX_WINDOWS - 1);
    assert_eq!(windows.fold(key(1), 0, &reading(0, 0), NOW), Ok(()));
}

#[test]
fn there_are_only_so_many_channels_in_all_windows_and_each_summary_gives_its_own_back() {
    let mut windows = Windows::default();
    let each = (MAX_CHANNELS / MAX_WINDOWS) as u16;
    for channel in 0..each {
        assert_eq!(fill(&mut windows, channel), MAX_WINDOWS, "channel {channel}");
    }
    assert_eq!(windows.fold(key(0), 100, &reading(each, 0), NOW), Err(Full), "a channel more");
    assert_eq!(windows.fold(key(0), 100, &reading(0, 0), NOW), Ok(()), "one that is there goes on");
    // As many after a restart as before it.
    let durable: Vec<Window> = windows.into_all().collect();
    let mut windows = Windows::of(durable.iter(), Duration::ZERO);
    assert!(!windows.has_room(&key(0), &reading(each, 0), 101));
    windows.close_all();
    let ready = windows.take_ready(1);
    assert!(!windows.has_room(&key(0), &reading(0, 0), 101), "their summaries are not on the way yet");
    windows.release(&ready[0]);
    for channel in 0..each {
        assert_eq!(windows.fold(key(0), u64::from(channel), &reading(channel, 0), NOW), Ok(()));
    }
    assert_eq!(windows.fold(key(0), 100, &reading(each, 0), NOW), Err(Full));
}
