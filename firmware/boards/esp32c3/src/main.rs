//! Weir on an Espressif ESP32-C3 with 4 MiB of flash: bytes, time, flash and I2C for the core.
//!
//! Wiring: UART 1 on GPIO 20 (RX) and GPIO 21 (TX), I2C 0 on GPIO 4 (SDA) and GPIO 5 (SCL) with an SHT4x at 0x44,
//! the light on GPIO 8 (lit when low), which blinks when the agent says "identify". The RTC watchdog resets the
//! chip when a turn of the main loop takes too long. The loop never sleeps: the radio-less core draws some 20 mA.
//!
//! Built and linted by the test command, never run on silicon by it: see `firmware/README.md`.
#![no_std]
#![no_main]

use core::ops::Range;
use core::panic::PanicInfo;

use esp_hal::delay::Delay;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::i2c::master::{Config as BusConfig, I2c};
use esp_hal::rng::{Trng, TrngSource};
use esp_hal::rtc_cntl::{Rtc, RwdtStage};
use esp_hal::time::{Duration, Instant, Rate};
use esp_hal::uart::{Config as LineConfig, Uart};
use esp_hal::{Config as ChipConfig, efuse, system};
use esp_storage::FlashStorage;
use static_cell::StaticCell;
use weir_firmware::sensor::SHT4X_CHANNELS;
use weir_firmware::{AnyRing, Config, Device, FlashRing, Pump, RamRing, Sht4x, Uptime, device, identity, restart};

esp_bootloader_esp_idf::esp_app_desc!();

/// Where the ring and the boot counter are, from the start of the flash: the partition `weir`.
const RING: Range<u32> = 0x3c_0000..0x40_0000;
/// The ring for a chip whose flash failed, in bytes: some 2,000 readings.
const RAM_RING: usize = 32 * 1024;
/// Time between samples, in microseconds, until the agent configures another.
const INTERVAL: u64 = 1_000_000;
/// Longest turn of the main loop: a sample, and a few sectors of flash at 45 ms (typical) to 400 ms (worst).
const WATCHDOG: Duration = Duration::from_secs(8);
const BAUD: u32 = 115_200;
const I2C_HZ: Rate = Rate::from_khz(100);

type Ring = AnyRing<FlashStorage<'static>, RAM_RING>;
type Sensor = Sht4x<I2c<'static, esp_hal::Blocking>, Delay>;

#[esp_hal::main]
fn main() -> ! {
    static PUMP: StaticCell<Pump<Ring, Sensor>> = StaticCell::new();

    let chip = esp_hal::init(ChipConfig::default());
    let mut rtc = Rtc::new(chip.RTC_TIMER);
    rtc.rwdt.set_timeout(RwdtStage::Stage0, WATCHDOG);
    rtc.rwdt.enable();

    let mac = efuse::base_mac_address();
    let nonce = entropy(TrngSource::new(chip.RNG, chip.ADC1)).map(|entropy| nonce(entropy, mac.as_bytes()));
    let ring = open_ring(FlashStorage::new(chip.FLASH), nonce);
    // Both configurations are constants that the drivers accept; without them there is nothing to run.
    let (Ok(i2c), Ok(uart)) = (
        I2c::new(chip.I2C0, BusConfig::default().with_frequency(I2C_HZ)),
        Uart::new(chip.UART1, LineConfig::default().with_baudrate(BAUD)),
    ) else {
        system::software_reset()
    };
    let i2c = i2c.with_sda(chip.GPIO4).with_scl(chip.GPIO5);
    let mut uart = uart.with_rx(chip.GPIO20).with_tx(chip.GPIO21);
    let mut light = Output::new(chip.GPIO8, Level::High, OutputConfig::default());
    let config = Config { device: identity::device_id("esp", mac.as_bytes()), interval: INTERVAL };
    let pump = PUMP.init(Pump::new(Device::new(uptime(), config, ring, Sht4x::new(i2c, Delay::new()))));

    let mut input = [0; 64];
    loop {
        rtc.rwdt.feed();
        let now = uptime();
        // A line error has lost bytes: the frame's checksum shows it, and what was lost is said again.
        let arrived = uart.read_buffered(&mut input).unwrap_or(0);
        pump.turn(now, &input[..arrived]);
        light.set_level((!pump.is_lit(now)).into());
        if !pump.unsent().is_empty() && uart.write_ready() {
            let unsent = pump.unsent().len();
            let sent = uart.write(pump.unsent()).unwrap_or(unsent);
            pump.sent(sent);
        }
        if pump.must_restart() {
            let _flushed = uart.flush();
            system::software_reset();
        }
    }
}

fn uptime() -> Uptime {
    Uptime(Instant::now().duration_since_epoch().as_micros())
}

/// 32 random bits, while the noise of the analog converter feeds the generator.
fn entropy(source: TrngSource<'_>) -> Option<u32> {
    let entropy = Trng::try_new().ok().map(|random| random.random());
    drop(source);
    entropy
}

fn nonce(entropy: u32, mac: &[u8]) -> u32 {
    let mut chip = [0; 8];
    chip.iter_mut().zip(mac).for_each(|(to, from)| *to = *from);
    restart::nonce(entropy, &chip)
}

/// The ring in flash, or the one in RAM for a chip that cannot number its restarts.
fn open_ring(flash: FlashStorage<'static>, nonce: Option<u32>) -> Ring {
    let schema = device::schema_of(&SHT4X_CHANNELS);
    match nonce.map(|nonce| FlashRing::open(flash, RING, nonce, schema)) {
        Some(Ok(ring)) => AnyRing::Flash(ring),
        _ => AnyRing::Ram(RamRing::new(schema)),
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    system::software_reset()
}
