// A Sensirion SHT4x on the I2C bus at address 0x44 (datasheet SHT4x, version 6: commands in table 8,
// conversion times in table 5, CRC-8 polynomial 0x31 from 0xff).
//
// Guarantees: a result is handed out only after the conversion time, once per command, and `onSample` hears
// of it before the chip has its last byte: what the chip can know was announced first.

const ADDRESS = 0x44;
const MEASURE_NANOS = { 0xfd: 8.3e6, 0xf6: 4.5e6, 0xe0: 1.6e6 };
const SERIAL_NUMBER = 0x89;
const SOFT_RESET = 0x94;
const TICKS = 0x10000;
// Odd, hence coprime to 2^16: temperature ticks repeat only after 65,536 samples, the pair after 2^32.
const UNIQUE_STEP = 40503;

export class Sht4x {
  /** `uniqueFrom`: number of the first sample of a run of unique tick pairs, or null for set values. */
  constructor({ uniqueFrom = null, serialNumber = 0x0bad5e75, onSample = () => {} } = {}) {
    this.present = true;
    this.temperature = 0x6666; // 25 °C
    this.humidity = 0x728f; // 50 %
    this.unique = uniqueFrom !== null;
    this.count = uniqueFrom ?? 0;
    this.serialNumber = serialNumber;
    this.onSample = onSample;
    this.pending = null;
  }

  /** Wires the sensor to a bus of the emulator and to the clock that runs it. */
  attach(bus, clock) {
    this.pending = null;
    bus.onConnect = (address) => {
      const ready = this.pending === null || clock.nanos >= this.pending.readyAt;
      bus.completeConnect(this.present && address === ADDRESS && (!this.#reading(bus) || (this.pending !== null && ready)));
    };
    bus.onWriteByte = (command) => bus.completeWrite(this.#command(command, clock.nanos));
    bus.onReadByte = () => bus.completeRead(this.#read());
  }

  #reading(bus) {
    return (bus.txFIFO.peek() & 0x100) !== 0;
  }

  #command(command, now) {
    this.pending = null;
    if (command in MEASURE_NANOS) {
      const [temperature, humidity] = this.#ticks();
      this.pending = { bytes: words(temperature, humidity), next: 0, readyAt: now + MEASURE_NANOS[command], sample: { temperature, humidity } };
    } else if (command === SERIAL_NUMBER) {
      this.pending = { bytes: words(this.serialNumber >>> 16, this.serialNumber & 0xffff), next: 0, readyAt: now };
    } else if (command !== SOFT_RESET) {
      return false;
    }
    return true;
  }

  #ticks() {
    if (!this.unique) return [this.temperature, this.humidity];
    const round = Math.floor(this.count / TICKS);
    return [(this.count * UNIQUE_STEP) % TICKS, (this.count * UNIQUE_STEP + round) % TICKS];
  }

  #read() {
    if (this.pending === null) return 0xff;
    const { bytes, sample } = this.pending;
    const byte = bytes[this.pending.next++];
    if (this.pending.next === bytes.length) {
      this.pending = null;
      if (sample) this.onSample({ count: this.count++, temperature_ticks: sample.temperature, humidity_ticks: sample.humidity });
    }
    return byte;
  }
}

function words(...values) {
  return values.flatMap((value) => {
    const pair = [value >> 8, value & 0xff];
    return [...pair, crc8(pair)];
  });
}

/** Sensirion's CRC-8. */
export function crc8(bytes) {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x31) & 0xff : (crc << 1) & 0xff;
  }
  return crc;
}
