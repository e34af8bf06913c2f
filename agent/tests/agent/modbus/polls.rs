//! One device after the other is asked: those that answer, and those that lie.

use tokio::task::JoinSet;

use super::{Given, METER, meter, of_the_meter, poll, poller};
use crate::seeds::for_each_seed;
use crate::support::plc::{Asked, DISCRETE, HOLDING, INPUT, Manner, Plc, crc};
use crate::support::pty;

#[tokio::test]
async fn a_map_of_all_tables_is_read_with_one_request_a_table() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "unit = 7", METER);
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
    let asked = |function, start, count| Asked { unit: 7, function, start, count };
    assert_eq!(plc.asked(), [asked(3, 100, 6), asked(4, 12, 2), asked(1, 3, 1), asked(2, 70, 1)]);
    poll(&mut poller, &line).await.1.expect("a second time");
    assert_eq!(plc.connections(), 1, "the connection stays");
}

#[tokio::test]
async fn a_register_that_is_refused_fails_alone_and_the_others_stay_together() {
    let registers: String =
        (0..8).map(|at| format!("[[modbus.register]]\nname = \"r{at}\"\naddress = {at}\n")).collect();
    // There is no register 5.
    let plc = Plc::default().holds(HOLDING, 0, &[0, 1, 2, 3, 4]).holds(HOLDING, 6, &[6, 7]);
    let mut tasks = JoinSet::new();
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "", &registers);
    let (values, outcome) = poll(&mut poller, &line).await;
    outcome.expect("the device answers");
    assert_eq!(values.len(), 7);
    assert_eq!(poller.failing().as_deref(), Some("r5: exception 2: illegal data address"));
    plc.asked();
    poll(&mut poller, &line).await.1.expect("the device answers");
    let asked: Vec<(u16, u16)> = plc.asked().iter().map(|asked| (asked.start, asked.count)).collect();
    assert_eq!(asked, [(0, 4), (4, 1), (5, 1), (6, 2)], "learnt, not tried again and again");
}

#[tokio::test]
async fn a_device_that_refuses_everything_is_asked_once_a_request_and_named() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    plc.becomes(Manner::Refusing(4));
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "", METER);
    assert_eq!(poll(&mut poller, &line).await, (Vec::new(), Ok(())));
    assert_eq!((poller.failures(), plc.asked().len()), (6, 4));
    assert!(poller.failing().unwrap().contains("pump: exception 4: server device failure"));
    plc.becomes(Manner::Honest);
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
    assert_eq!(poller.failing(), None);
}

#[tokio::test]
async fn a_device_that_is_busy_is_asked_again_in_a_moment_and_not_for_ever() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "", METER);
    for exception in [5, 6] {
        plc.becomes(Manner::Busy(exception, 3));
        assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
        assert_eq!((poller.failing(), plc.asked().len()), (None, 4 + 3));
    }
    plc.becomes(Manner::Busy(6, 100));
    assert_eq!(poll(&mut poller, &line).await, (Vec::new(), Ok(())));
    assert_eq!((poller.failures(), plc.asked().len()), (6, 4 + 3));
    assert!(poller.failing().unwrap().contains("pump: exception 6: server device busy"));
}

/// Some devices do not answer what they do not have. One such register used to end each life of the source, and nothing
/// behind it was ever read.
#[tokio::test]
async fn a_request_that_a_device_does_not_answer_fails_alone_if_it_answers_others() {
    for ignored in [HOLDING, INPUT, DISCRETE] {
        let (plc, mut tasks) = (meter(), JoinSet::new());
        plc.becomes(Manner::Ignoring(ignored));
        let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "timeout = \"50ms\"", METER);
        let of_this = |name: &str| match ignored {
            HOLDING => ["flow Cel", "alarm 1", "model 1"].contains(&name),
            INPUT => name == "power W",
            _ => name == "door 1",
        };
        let expected: Given = of_the_meter().into_iter().filter(|(name, _)| !of_this(name)).collect();
        assert_eq!(poll(&mut poller, &line).await, (expected, Ok(())));
        assert!(poller.failing().unwrap().contains("no answer in 50 ms"));
        plc.becomes(Manner::Honest);
        assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())), "its values come back");
    }
}

#[tokio::test]
async fn half_an_answer_is_none_and_its_rest_is_not_taken_for_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ttyBUS");
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (from_agent, to_agent, _slave) = pty::plug(&path);
    let served = plc.clone();
    tasks.spawn(async move { served.rtu(tokio::io::join(from_agent, to_agent), &[1]).await });
    let address = format!("rtu://{}?baud=115200&parity=none", path.display());
    let (mut poller, line) = poller(&address, "timeout = \"100ms\"", METER);
    plc.becomes(Manner::Halving);
    for _ in 0..3 {
        let (values, _) = poll(&mut poller, &line).await;
        let all = of_the_meter();
        assert!(values.iter().all(|value| all.contains(value)), "{values:?}");
    }
    plc.becomes(Manner::Honest);
    // What is left of the last half comes first.
    let _ = poll(&mut poller, &line).await;
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
}

#[tokio::test]
async fn a_device_that_lies_is_not_believed_and_read_again_on_a_new_connection() {
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (mut poller, line) = poller(&plc.serve(&mut tasks).await, "timeout = \"100ms\"", METER);
    for manner in [Manner::Mistaken, Manner::Short, Manner::Flooding, Manner::Rude, Manner::Silent] {
        plc.becomes(manner);
        let (values, outcome) = poll(&mut poller, &line).await;
        assert_eq!(values, Vec::new(), "{manner:?}");
        let error = outcome.expect_err("a lie");
        assert!(error.contains("unit 1, holding 100 to 105: "), "{manner:?}: {error}");
        if manner == Manner::Rude {
            assert!(error.ends_with("the device closed the connection"), "{error}");
        }
    }
    plc.becomes(Manner::Honest);
    assert_eq!(poll(&mut poller, &line).await, (of_the_meter(), Ok(())));
    assert_eq!(plc.connections(), 7, "one each, and one more for a second question to silence");
}

#[tokio::test]
async fn nobody_there_is_said() {
    let (mut poller, line) = poller("tcp://127.0.0.1:1", "", METER);
    let error = poll(&mut poller, &line).await.1.expect_err("nobody");
    assert!(error.starts_with("tcp://127.0.0.1:1, unit 1, ") && error.contains("cannot be opened"), "{error}");
}

/// The example of the serial line specification's appendix B: 02 07 has the CRC 41 12.
#[test]
fn the_checksum_that_these_tests_check_with_is_the_one_of_the_specification() {
    assert_eq!(crc(&[0x02, 0x07]), [0x41, 0x12]);
}

#[tokio::test]
async fn units_on_one_serial_line_take_turns_and_a_missing_one_holds_nobody_up_for_long() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ttyBUS");
    let (plc, mut tasks) = (meter(), JoinSet::new());
    let (from_agent, to_agent, slave) = pty::plug(&path);
    let bus = tokio::io::join(from_agent, to_agent);
    let served = plc.clone();
    tasks.spawn(async move { served.rtu(bus, &[1, 2]).await });
    let address = format!("rtu://{}?baud=115200&parity=none", path.display());
    let (mut one, line) = poller(&address, "unit = 1\ntimeout = \"5s\"", METER);
    let (mut two, _) = poller(&address, "unit = 2\ntimeout = \"5s\"", METER);
    let (mut missing, _) = poller(&address, "unit = 9\ntimeout = \"50ms\"", METER);
    let (one, two, missing) = tokio::join!(poll(&mut one, &line), poll(&mut two, &line), poll(&mut missing, &line));
    assert_eq!(one, (of_the_meter(), Ok(())));
    assert_eq!(two, (of_the_meter(), Ok(())));
    assert!(missing.1.expect_err("nobody").contains("unit 9, holding 100 to 105: no answer in 50 ms"));
    plc.becomes(Manner::Mistaken);
    let (mut one, _) = poller(&address, "unit = 1\ntimeout = \"5s\"", METER);
    let error = poll(&mut one, &line).await.1.expect_err("the answer of another unit");
    assert!(error.contains("another request"), "{error}");
    drop(slave);
}

/// Whatever bytes come instead of an answer, the process lives and no value is made of them.
#[test]
fn garbled_answers_are_errors_and_never_values() {
    for_each_seed("garbled_answers_are_errors_and_never_values", 2, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (device, mut tasks) = (meter(), JoinSet::new());
            device.becomes(Manner::Garbling(seed));
            let (mut tcp, line) = poller(&device.serve(&mut tasks).await, "timeout = \"10ms\"", METER);
            for _ in 0..50 {
                let (values, _) = poll(&mut tcp, &line).await;
                assert_eq!(values, Vec::new());
            }
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("ttyBUS");
            let (from_agent, to_agent, _slave) = pty::plug(&path);
            let served = device.clone();
            tasks.spawn(async move { served.rtu(tokio::io::join(from_agent, to_agent), &[1]).await });
            let address = format!("rtu://{}?baud=115200&parity=none", path.display());
            let (mut rtu, line) = poller(&address, "timeout = \"10ms\"", METER);
            for _ in 0..20 {
                let (values, _) = poll(&mut rtu, &line).await;
                assert_eq!(values, Vec::new());
            }
        });
    });
}
