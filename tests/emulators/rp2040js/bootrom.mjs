// The boot ROM as far as an application calls it: function look-up and the flash routines.
//
// The real ROM is not shipped. Each routine here is `bkpt #n; bx lr`; the emulator stops at the break point
// and does the routine's work. Layout: RP2040 datasheet 2.8.2 (table pointers at 0x14, 0x16 and 0x18).

const STUBS = 0x40;
const BX_LR = 0x4770;
const BKPT = 0xbe00;
const LOOKUP = 0;
const ROUTINES = ['IF', 'EX', 'RE', 'RP', 'FC', 'CX', 'C4'];
const SRAM = 0x20000000;

/** Puts the stub into `chip` and sends its break points to `flash`; `onFault(text)` hears any other one. */
export function installBootrom(chip, flash, onFault) {
  const rom = new DataView(chip.bootrom.buffer);
  const routine = (index) => STUBS + index * 4;
  rom.setUint32(0x10, 0x01_02_75_4d, true); // "Mu", table version, ROM version 2
  rom.setUint16(0x14, routine(ROUTINES.length + 1), true); // an empty function table: look-up is a break point
  rom.setUint16(0x16, routine(ROUTINES.length + 1), true);
  rom.setUint16(0x18, routine(LOOKUP) | 1, true);
  for (let i = 0; i <= ROUTINES.length; i++) {
    rom.setUint16(routine(i), BKPT | i, true);
    rom.setUint16(routine(i) + 2, BX_LR, true);
  }

  const { core, clock } = chip;
  const work = {
    RE: ([offset, length]) => clock.tick(flash.erase(offset, length)),
    RP: ([offset, from, length]) => clock.tick(flash.program(offset, chip.sram.slice(from - SRAM, from - SRAM + length))),
    // memcpy44(to, from, length) copies words between any two addresses and returns the destination.
    C4: ([to, from, length]) => {
      for (let i = 0; i < length; i += 4) chip.writeUint32(to + i, chip.readUint32(from + i));
    },
  };
  chip.onBreak = (code) => {
    const registers = core.registers;
    if (code === LOOKUP) {
      const name = String.fromCharCode(registers[1] & 0xff, registers[1] >> 8);
      const index = ROUTINES.indexOf(name) + 1;
      if (index === 0) onFault(`the boot ROM stub has no routine '${name}'`);
      registers[0] = index && routine(index) | 1;
    } else if (core.PC < STUBS + 4 * (ROUTINES.length + 2) && code <= ROUTINES.length) {
      work[ROUTINES[code - 1]]?.(registers);
    } else {
      onFault(`break point ${code} at 0x${core.PC.toString(16)}`);
    }
  };
}
