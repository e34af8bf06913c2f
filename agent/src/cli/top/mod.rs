//! `top`: the running agent on a screen, looked at again every second.
//!
//! A thread asks the agent, so that keys are answered at once, however slow the agent is. What it answered last stays on
//! the screen while it is away, with the reason above it.

mod screen;
mod words;

use std::io::{IsTerminal, stdout};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::arguments::{Format, TopArgs};
use super::{Failure, load, print, print_json, runtime};
use crate::config::Config;
use crate::local::ask::{self, AskError};
use crate::local::status::Status;
use screen::{Look, draw};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long a key waits, at most.
const KEYS: Duration = Duration::from_millis(100);
/// What is printed into a pipe, in columns, unless `COLUMNS` says otherwise.
const WIDTH: u16 = 100;

pub(super) fn run(args: &TopArgs) -> Result<(), Failure> {
    let config = load(&args.settings)?;
    if args.output.output == Format::Json {
        return print_json(&once(&config)?);
    }
    if args.once || !stdout().is_terminal() {
        return print(&frame(&once(&config)?));
    }
    let looks = watch(config);
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::Failed(format!("cannot use the terminal: {error}")))?;
    let shown = show(&mut terminal, &looks);
    ratatui::restore();
    shown.map_err(|error| Failure::Failed(format!("cannot use the terminal: {error}")))
}

fn once(config: &Config) -> Result<Status, Failure> {
    runtime()?.block_on(ask::status(config)).map_err(failure)
}

pub(super) fn failure(error: AskError) -> Failure {
    Failure::Unavailable(error.to_string())
}

/// One frame as text, as wide as `COLUMNS` and as high as it needs.
pub(super) fn frame(status: &Status) -> String {
    let width = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(WIDTH).clamp(40, 500);
    let look = Look { status: Some(status.clone()), trouble: None };
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, screen::height(status, width)));
    let Ok(drawn) = terminal.draw(|frame| draw(frame, &look, false));
    let area = drawn.area;
    let line = |y| -> String {
        let cells = (0..area.width).map(|x| drawn.buffer.cell((x, y)).map_or(" ", |cell| cell.symbol()));
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..area.height).map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Asks again and again, until nobody listens.
fn watch(config: Config) -> Receiver<Result<Status, String>> {
    let (sender, looks) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let Ok(runtime) = runtime() else { return };
        loop {
            let began = Instant::now();
            let look = runtime.block_on(ask::status(&config)).map_err(|error| error.to_string());
            if sender.send(look).is_err() {
                return;
            }
            std::thread::sleep(EVERY.saturating_sub(began.elapsed()));
        }
    });
    looks
}

/// Draws until somebody leaves.
fn show(terminal: &mut ratatui::DefaultTerminal, looks: &Receiver<Result<Status, String>>) -> std::io::Result<()> {
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut look = Look { status: None, trouble: None };
    loop {
        match looks.try_recv() {
            Ok(Ok(status)) => look = Look { status: Some(status), trouble: None },
            Ok(Err(trouble)) => look.trouble = Some(trouble),
            Err(_) => {}
        }
        terminal.draw(|frame| draw(frame, &look, color))?;
        if event::poll(KEYS)? && leaves(&event::read()?) {
            return Ok(());
        }
    }
}

/// Whether a key means that somebody has seen enough.
fn leaves(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let interrupted = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind != KeyEventKind::Release && (interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}
