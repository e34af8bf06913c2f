//! The serial lines of this machine, with what a person needs to tell them apart. From sysfs
//! (Documentation/ABI/testing/sysfs-tty and sysfs-bus-usb of the Linux kernel).

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SerialLine {
    /// The device file.
    pub path: PathBuf,
    /// A name that survives replugging, if udev made one.
    pub stable_path: Option<PathBuf>,
    /// The kernel driver.
    pub driver: Option<String>,
    /// `vendor:product` of a USB device, in hexadecimal.
    pub usb_id: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// What it calls itself.
    pub product: Option<String>,
    /// Its serial number.
    pub serial_number: Option<String>,
}

/// Lists the lines below `root`, which is `/` but for tests.
pub fn list(root: &Path) -> Vec<SerialLine> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/tty")) else { return Vec::new() };
    let stable = stable_paths(root);
    let mut lines: Vec<SerialLine> = entries
        .flatten()
        .filter_map(|entry| describe(&entry.path(), &entry.file_name().into_string().ok()?, &stable))
        .collect();
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    lines
}

/// A tty with hardware behind it; consoles and ptys have none.
fn describe(class: &Path, name: &str, stable: &[(String, PathBuf)]) -> Option<SerialLine> {
    let device = fs::canonicalize(class.join("device")).ok()?;
    let driver = fs::canonicalize(device.join("driver")).ok();
    let driver = driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned()));
    // The kernel lists 8250 ports that no machine has; without a type they are not there.
    if text(&class.join("type")).is_some_and(|kind| kind == "0") {
        return None;
    }
    // USB attributes are those of the closest parent that has them.
    let usb = device.ancestors().take(4).find(|dir| dir.join("idVendor").exists());
    let attribute = |name: &str| text(&usb?.join(name));
    Some(SerialLine {
        path: Path::new("/dev").join(name),
        stable_path: stable.iter().find(|(target, _)| target == name).map(|(_, path)| path.clone()),
        driver,
        usb_id: attribute("idVendor")
            .zip(attribute("idProduct"))
            .map(|(vendor, product)| format!("{vendor}:{product}")),
        manufacturer: attribute("manufacturer"),
        product: attribute("product"),
        serial_number: attribute("serial"),
    })
}

/// Names in `/dev/serial/by-id` with the tty that each points to.
fn stable_paths(root: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(root.join("dev/serial/by-id")) else { return Vec::new() };
    let target = |path: &Path| Some(fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned());
    entries
        .flatten()
        .filter_map(|entry| Some((target(&entry.path())?, Path::new("/dev/serial/by-id").join(entry.file_name()))))
        .collect()
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_usb_line_is_listed_with_maker_and_stable_name_and_a_console_is_not() {
        let root = tempfile::tempdir().unwrap();
        let usb = root.path().join("sys/devices/usb1/1-1");
        let port = usb.join("1-1:1.0");
        fs::create_dir_all(&port).unwrap();
        for (name, value) in [("idVendor", "2e8a"), ("idProduct", "000a"), ("product", "Pico"), ("serial", "E660\n")] {
            fs::write(usb.join(name), value).unwrap();
        }
        let class = root.path().join("sys/class/tty");
        fs::create_dir_all(class.join("ttyACM0")).unwrap();
        fs::create_dir_all(class.join("tty1")).unwrap();
        symlink(&port, class.join("ttyACM0/device")).unwrap();
        let by_id = root.path().join("dev/serial/by-id");
        fs::create_dir_all(&by_id).unwrap();
        symlink("../../ttyACM0", by_id.join("usb-Pico_E660-if00")).unwrap();

        let lines = list(root.path());
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].path, Path::new("/dev/ttyACM0"));
        assert_eq!(lines[0].stable_path.as_deref(), Some(Path::new("/dev/serial/by-id/usb-Pico_E660-if00")));
        assert_eq!(lines[0].usb_id.as_deref(), Some("2e8a:000a"));
        assert_eq!((lines[0].product.as_deref(), lines[0].serial_number.as_deref()), (Some("Pico"), Some("E660")));
    }
}
