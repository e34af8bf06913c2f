//! What registers say, and how they are asked for.

use weir_agent::source::modbus::{self, ByteOrder, Layout, Place, Table, Type};
use weir_protocol::ValueKind;

const fn layout(kind: Type, order: ByteOrder) -> Layout {
    Layout { kind, order, bit: 0, scale: 1.0, offset: 0.0 }
}

fn decode(layout: Layout, registers: &[u16]) -> Result<String, String> {
    let mut text = String::new();
    layout.decode(registers, &mut text).map(|value| format!("{value:?}"))
}

/// 0x41C80000 is 25.0 in IEEE 754; the four orders as manuals name them.
#[test]
fn a_single_in_the_four_orders() {
    let vectors = [
        (ByteOrder::Abcd, [0x41c8, 0x0000]),
        (ByteOrder::Cdab, [0x0000, 0x41c8]),
        (ByteOrder::Badc, [0xc841, 0x0000]),
        (ByteOrder::Dcba, [0x0000, 0xc841]),
    ];
    for (order, registers) in vectors {
        assert_eq!(decode(layout(Type::F32, order), &registers).as_deref(), Ok("Float(25.0)"), "{order:?}");
    }
}

#[test]
fn a_long_integer_in_the_four_orders() {
    let vectors = [
        (ByteOrder::Abcd, [0x0123, 0x4567, 0x89ab, 0xcdef]),
        (ByteOrder::Cdab, [0xcdef, 0x89ab, 0x4567, 0x0123]),
        (ByteOrder::Badc, [0x2301, 0x6745, 0xab89, 0xefcd]),
        (ByteOrder::Dcba, [0xefcd, 0xab89, 0x6745, 0x2301]),
    ];
    for (order, registers) in vectors {
        let expected = format!("Integer({})", 0x0123_4567_89ab_cdef_i64);
        assert_eq!(decode(layout(Type::U64, order), &registers), Ok(expected), "{order:?}");
    }
}

#[test]
fn numbers_keep_their_sign_and_their_size() {
    let vectors: [(Type, &[u16], &str); 9] = [
        (Type::U16, &[0xffff], "Integer(65535)"),
        (Type::I16, &[0xffff], "Integer(-1)"),
        (Type::I16, &[0x8000], "Integer(-32768)"),
        (Type::U32, &[0xffff, 0xffff], "Integer(4294967295)"),
        (Type::I32, &[0xffff, 0xfffe], "Integer(-2)"),
        (Type::I64, &[0x8000, 0, 0, 0], "Integer(-9223372036854775808)"),
        (Type::U64, &[0x7fff, 0xffff, 0xffff, 0xffff], "Integer(9223372036854775807)"),
        (Type::F64, &[0x4039, 0, 0, 0], "Double(25.0)"),
        (Type::F32, &[0xbf80, 0], "Float(-1.0)"),
    ];
    for (kind, registers, expected) in vectors {
        assert_eq!(decode(layout(kind, ByteOrder::Abcd), registers).as_deref(), Ok(expected));
    }
    assert!(decode(layout(Type::U64, ByteOrder::Abcd), &[0x8000, 0, 0, 0]).unwrap_err().contains("2^63"));
}

#[test]
fn scale_and_offset_make_a_double_of_any_number() {
    let scaled = |kind, scale, offset| Layout { scale, offset, ..layout(kind, ByteOrder::Abcd) };
    assert_eq!(decode(scaled(Type::I16, 0.1, 0.0), &[0xff9c]).as_deref(), Ok("Double(-10.0)"));
    assert_eq!(decode(scaled(Type::U16, 1.0, -40.0), &[65]).as_deref(), Ok("Double(25.0)"));
    assert_eq!(decode(scaled(Type::F32, 1000.0, 0.0), &[0x41c8, 0]).as_deref(), Ok("Double(25000.0)"));
    let layout = scaled(Type::I16, 0.1, 0.0);
    assert_eq!((layout.value_kind(), layout.resolution()), (ValueKind::Double, 0.1));
}

#[test]
fn a_bit_of_a_register_and_a_text_of_several() {
    let bit = |bit| Layout { bit, ..layout(Type::Bit, ByteOrder::Abcd) };
    let read: Vec<_> = (0..4).map(|at| decode(bit(at), &[0b0101]).unwrap()).collect();
    assert_eq!(read, ["Boolean(true)", "Boolean(false)", "Boolean(true)", "Boolean(false)"]);
    let text = layout(Type::String, ByteOrder::Abcd);
    assert_eq!(decode(text, &[0x5072, 0x6f20, 0x3100, 0x7878]).as_deref(), Ok("Text(\"Pro 1\")"));
    assert_eq!(decode(layout(Type::String, ByteOrder::Badc), &[0x7250]).as_deref(), Ok("Text(\"Pr\")"));
    assert!(decode(text, &[0xffff]).unwrap_err().contains("no text"));
}

#[test]
fn what_is_no_measurement_is_no_reading() {
    for registers in [[0x7fc0, 0], [0x7f80, 0], [0xff80, 0]] {
        assert!(decode(layout(Type::F32, ByteOrder::Abcd), &registers).unwrap_err().contains("no measurement"));
    }
}

fn places(wanted: &[(Table, u16, u16)]) -> Vec<Place> {
    wanted.iter().map(|&(table, start, count)| Place { table, start, count }).collect()
}

#[test]
fn neighbours_go_into_one_request_as_far_as_the_specification_lets_them() {
    use Table::{Coil, Holding, Input};
    let asked = |wanted: &[(Table, u16, u16)], gap| -> Vec<(Table, u16, u16)> {
        let place = |block: modbus::Block| (block.place.table, block.place.start, block.place.count);
        modbus::blocks(&places(wanted), gap).into_iter().map(place).collect()
    };
    assert_eq!(asked(&[(Holding, 2, 2), (Holding, 0, 2), (Holding, 4, 1)], 0), [(Holding, 0, 5)]);
    assert_eq!(asked(&[(Holding, 0, 2), (Input, 2, 2)], 9), [(Holding, 0, 2), (Input, 2, 2)]);
    assert_eq!(asked(&[(Holding, 0, 2), (Holding, 10, 2)], 8), [(Holding, 0, 12)]);
    assert_eq!(asked(&[(Holding, 0, 2), (Holding, 11, 2)], 8), [(Holding, 0, 2), (Holding, 11, 2)]);
    // The same register twice, and one inside another's.
    assert_eq!(asked(&[(Holding, 0, 4), (Holding, 1, 1), (Holding, 0, 4)], 0), [(Holding, 0, 4)]);
    assert_eq!(asked(&[(Holding, 0, 124), (Holding, 124, 2)], 8), [(Holding, 0, 124), (Holding, 124, 2)]);
    assert_eq!(asked(&[(Coil, 0, 1), (Coil, 1999, 1), (Coil, 2000, 1)], 2000), [(Coil, 0, 2000), (Coil, 2000, 1)]);
    assert_eq!(asked(&[(Holding, 65_534, 2), (Holding, 0, 1)], 8), [(Holding, 0, 1), (Holding, 65_534, 2)]);
}
