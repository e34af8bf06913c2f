"""A plant behind Modbus: two units of pymodbus's simulator, over TCP or over a serial line.

Usage: plant.py tcp PORT        PORT 0 is any free one
       plant.py rtu PATH        the line's other end is linked to PATH

Prints `ready PORT` or `ready PATH` when it answers, and ends when its stdin does. What the units hold is what
tests/sources/modbus.rs expects; the bytes are written out, so that no library of ours or theirs turns them round twice.
"""

import asyncio
import os
import sys
import threading
import tty

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def words(address, *values):
    return SimData(address, values=list(values), datatype=DataType.REGISTERS)


def bits(address, *values):
    return SimData(address, values=list(values), datatype=DataType.BITS)


# 1.5 as a 32-bit float is 3f c0 00 00 (IEEE 754); 123456.789 as a 64-bit float is 40 fe 24 0c 9f be 76 c9.
PRESS = SimDevice(
    1,
    simdata=(
        [bits(0, True, False, True)],
        [bits(10, False, True)],
        [
            words(0, 215, 65486),  # 21.5 degrees in tenths; -50 as i16
            words(10, 0x3FC0, 0x0000),  # abcd
            words(12, 0x0000, 0x3FC0),  # cdab
            words(14, 0xC03F, 0x0000),  # badc
            words(16, 0x0000, 0xC03F),  # dcba
            words(20, 0x0001, 0x86A0),  # 100000 as u32
            words(22, 0xFFFF, 0xFFFE),  # -2 as i32
            words(30, 0x40FE, 0x240C, 0x9FBE, 0x76C9),
            words(40, 0x7072, 0x6573, 0x732D, 0x3900),  # "press-9"
        ],
        [words(100, 4095)],
    ),
)
# A second unit on the same line.
PUMP = SimDevice(2, simdata=([bits(0, False)], [bits(0, False)], [words(0, 730)], [words(0, 0)]))


def line(path):
    """Two terminals back to back; returns the name of the end for the simulator, the other is linked to `path`."""
    ours, ours_end = os.openpty()
    theirs, theirs_end = os.openpty()
    for end in (ours_end, theirs_end):
        tty.setraw(end)

    def copy(source, target):
        while data := os.read(source, 4096):
            os.write(target, data)

    for ends in ((ours, theirs), (theirs, ours)):
        threading.Thread(target=copy, args=ends, daemon=True).start()
    os.symlink(os.ttyname(theirs_end), path)
    return os.ttyname(ours_end)


async def main(kind, where):
    units = [PRESS, PUMP]
    if kind == "tcp":
        server = ModbusTcpServer(units, address=("127.0.0.1", int(where)))
        await server.serve_forever(background=True)
        where = server.transport.sockets[0].getsockname()[1]
    else:
        # A pseudo terminal has no parity.
        server = ModbusSerialServer(units, framer=FramerType.RTU, port=line(where), baudrate=19200, parity="N")
        await server.serve_forever(background=True)
    print("ready", where, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    # What is left are threads that wait for a terminal.
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
