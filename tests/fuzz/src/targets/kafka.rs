//! What strangers send to the gateway's Kafka port: requests of every API in every version, and the messages by which
//! they prove who they are.

use crate::target::Target;

use super::bytes;

/// The bound is 64 bytes of memory for each byte of input: the largest structure for what it takes at the least.
pub(super) const REQUEST: Target = Target {
    name: "kafka",
    run: weir_gateway::kafka::fuzz::request,
    max_len: 4096,
    memory: 256 << 10,
    inputs: 400_000,
    seeds: requests,
};

pub(super) const SASL: Target = Target {
    name: "sasl",
    run: weir_gateway::kafka::fuzz::sasl,
    max_len: 8192,
    memory: 64 << 10,
    inputs: 100_000,
    seeds: || {
        let exchange = [
            "n,a=al=2Cice,n=al=2Cice,r=rOprNGfwEbeRWgbNEkqO,ext=1\0",
            "c=bixhPWFsPTJDaWNlLA==,r=rOprNGfwEbeRWgbNEkqOAAAAAAAAAAAAAAAAAAAAAAAA,",
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        ];
        vec![
            ("plain", b"alice\0alice\0pencil".to_vec()),
            ("scram", exchange.concat().into_bytes()),
            ("scram.channel", b"y,,n=user,r=abc\0c=eSws,r=abc,p=AAAA".to_vec()),
        ]
    },
};

/// Of each API the oldest version and the newest, and requests that say as much as they can in as few bytes.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    const REQUESTS: &str = include_str!("../../../../gateway/src/kafka/messages/tests/requests.txt");
    let named: Vec<_> = REQUESTS.lines().filter_map(|line| line.split_once(' ')).collect();
    let api = |at: usize| named.get(at).and_then(|(name, _)| name.split('.').next());
    let is_edge = |at: usize| at == 0 || api(at - 1) != api(at) || api(at) != api(at + 1);
    let mut seeds: Vec<_> =
        (0..named.len()).filter(|at| is_edge(*at)).map(|at| (named[at].0, bytes(named[at].1))).collect();
    // A decoder that believes the length of this array asks for 60 GB.
    seeds.push(("Metadata.fourteen-bytes", bytes("000300010000000700007fffffff")));
    seeds.push(("FindCoordinator.dense", dense("000a000400000007ffff0000", 1, 4000)));
    seeds.push(("LeaveGroup.dense", dense("000d000500000007ffff000161", 4, 1000)));
    seeds.push(("OffsetFetch.dense", dense("0009000800000007ffff00", 3, 1300)));
    seeds
}

/// A request in the flexible encoding that ends with an array of elements of zeros but for a first byte of 1.
fn dense(head: &str, element: usize, count: usize) -> Vec<u8> {
    let mut request = bytes(head);
    request.extend([(count + 1) as u8 | 0x80, ((count + 1) >> 7) as u8]);
    for _ in 0..count {
        request.push(1);
        request.resize(request.len() + element - 1, 0);
    }
    request
}
