//! What the screen shows, from top to bottom: who and how; the way to the gateway; the queue; the sources. What goes
//! wrong is red, what needs a look is yellow; without colour it is bold, and the words say it anyway.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use super::words::{age, bytes, count, rate};
use crate::local::status::{SourceStatus, Status};

/// What was seen last, and why nothing newer was.
pub(super) struct Look {
    pub(super) status: Option<Status>,
    pub(super) trouble: Option<String>,
}

/// The bar of a queue, in columns.
const BAR: usize = 20;
/// The time from a batch to its acknowledgement is no silence, on most links.
const SILENT_MS: u64 = 1000;
/// More lines about the gateways than this are left out.
const MAX_GATEWAYS: usize = 4;

/// How much a thing matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Look,
    Wrong,
}

/// Turns tones into what the terminal can show.
struct Palette {
    color: bool,
}

impl Palette {
    fn of(&self, tone: Tone) -> Style {
        let style = Style::default();
        match (tone, self.color) {
            (Tone::Plain, _) | (Tone::Good, false) => style,
            (Tone::Good, true) => style.fg(Color::Green),
            (Tone::Look, true) => style.fg(Color::Yellow),
            (Tone::Wrong, true) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Look | Tone::Wrong, false) => style.add_modifier(Modifier::BOLD),
        }
    }

    fn span(&self, tone: Tone, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.of(tone))
    }

    fn title(&self, text: &'static str) -> Block<'static> {
        let style = Style::default().add_modifier(Modifier::BOLD);
        Block::default().borders(Borders::TOP).title(Span::styled(format!(" {text} "), style))
    }
}

/// Rows that everything takes.
pub(super) fn height(status: &Status) -> u16 {
    let rows = head(status, None, &Palette { color: false }).len()
        + uplink(status, &Palette { color: false }).len()
        + status.queue.classes.len()
        + status.sources.len();
    // Three titles, two headings and the last line.
    (rows + 6).min(1000) as u16
}

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, look: &Look, color: bool) {
    let palette = Palette { color };
    let Some(status) = &look.status else {
        let text = look.trouble.clone().unwrap_or_else(|| "asking the agent ...".to_owned());
        return frame.render_widget(Paragraph::new(text).wrap(Default::default()), frame.area());
    };
    let head = head(status, look.trouble.as_deref(), &palette);
    let uplink = uplink(status, &palette);
    let rows = |lines: usize| Constraint::Length(lines as u16);
    let parts =
        [rows(head.len()), rows(uplink.len() + 1), rows(status.queue.classes.len() + 2), Constraint::Min(2), rows(1)];
    let [top, middle, queued, sources, last] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(Paragraph::new(uplink).block(palette.title("uplink")), middle);
    frame.render_widget(queue(status, &palette).block(palette.title("queue")), queued);
    frame.render_widget(table(status, sources, &palette).block(palette.title("sources")), sources);
    frame.render_widget(Paragraph::new(foot(status)), last);
}

/// Who it is, and whether all is well.
fn head(status: &Status, trouble: Option<&str>, palette: &Palette) -> Vec<Line<'static>> {
    let name = Span::styled(status.agent.clone(), Style::default().add_modifier(Modifier::BOLD));
    let more =
        format!("  weir-agent {}  up {}  process {}  ", status.version, age(status.uptime_s as i64 * 1000), status.pid);
    let well = match (trouble, status.reasons.len()) {
        (Some(_), _) => palette.span(Tone::Wrong, "no answer"),
        (None, 0) => palette.span(Tone::Good, "healthy"),
        (None, _) => palette.span(Tone::Wrong, "not healthy"),
    };
    let mut lines = vec![Line::from(vec![name, Span::raw(more), well])];
    let whys = trouble.into_iter().chain(status.reasons.iter().map(String::as_str));
    lines.extend(whys.map(|why| Line::from(palette.span(Tone::Wrong, format!("  {why}")))));
    lines
}

fn uplink(status: &Status, palette: &Palette) -> Vec<Line<'static>> {
    let uplink = &status.uplink;
    let gateway = uplink.gateway.as_deref().unwrap_or("no gateway");
    let since = |at: Option<i64>| at.map(|at| age(status.now_ms - at));
    let (tone, state) = match (uplink.state.as_str(), since(uplink.connected_since_ms)) {
        ("connected", Some(since)) if uplink.silent_ms < SILENT_MS => (Tone::Good, format!("connected for {since}")),
        ("connected", Some(since)) => {
            let silent = age(uplink.silent_ms as i64);
            (Tone::Look, format!("connected for {since}, nothing acknowledged for {silent}"))
        }
        (state, _) => (Tone::Wrong, state.to_owned()),
    };
    let gateway = Span::raw(format!("gateway            {gateway}  "));
    let mut lines = vec![Line::from(vec![gateway, palette.span(tone, state)])];
    lines.extend(uplink.broker.iter().map(|broker| Line::from(format!("broker             {broker}"))));
    lines.push(Line::from(match &uplink.last_acknowledged {
        Some(last) => format!(
            "last acknowledged  {} restart {} sequence {}, {} ago",
            last.device,
            last.restart,
            last.sequence,
            age(status.now_ms - last.at_ms)
        ),
        None => "last acknowledged  nothing since the start".to_owned(),
    }));
    lines.push(Line::from(match status.queue.oldest_unshipped_ms {
        Some(oldest) => format!("oldest unsent      {} old", age(oldest)),
        None => "oldest unsent      nothing waits".to_owned(),
    }));
    for gateway in uplink.gateways.iter().take(MAX_GATEWAYS) {
        let tone = if gateway.breaker == "closed" { Tone::Plain } else { Tone::Look };
        let text = format!("{}, {} failures in a row", gateway.breaker, gateway.failures);
        lines.push(Line::from(vec![
            Span::raw(format!("breaker            {}  ", gateway.address)),
            palette.span(tone, text),
        ]));
    }
    if let Some(budget) = &uplink.budget {
        lines.push(Line::from(format!("bytes of the day   {} of {}", bytes(budget.used), bytes(budget.limit))));
    }
    if uplink.held_back {
        lines
            .push(Line::from(palette.span(Tone::Look, "held back          hours or budget let not everything go now")));
    }
    if let Some(error) = &uplink.last_error {
        lines.push(Line::from(vec![Span::raw("last error         "), palette.span(Tone::Look, error.clone())]));
    }
    lines
}

fn queue(status: &Status, palette: &Palette) -> Table<'static> {
    let row = |class: &crate::queue::ClassFacts| {
        let share = if class.cap == 0 { 0.0 } else { class.allocated as f64 / class.cap as f64 };
        let tone = if share > 0.9 {
            Tone::Wrong
        } else if share > 0.5 {
            Tone::Look
        } else {
            Tone::Plain
        };
        let full = ((share * BAR as f64).round() as usize).min(BAR);
        let bar = format!("[{}{}] {:>3.0} %", "#".repeat(full), "-".repeat(BAR - full), share * 100.0);
        Row::new([
            Cell::from(class.name.clone()),
            Cell::from(palette.span(tone, bar)),
            Cell::from(format!("{} of {}", bytes(class.allocated), bytes(class.cap))),
            Cell::from(count(class.unshipped)),
            Cell::from(class.oldest_unshipped_ms.map(age).unwrap_or_default()),
            Cell::from(class.policy.clone()),
        ])
    };
    let widths = [
        first(status.queue.classes.iter().map(|class| class.name.len())),
        Constraint::Length(BAR as u16 + 8),
        Constraint::Length(22),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    Table::new(status.queue.classes.iter().map(row), widths).header(heading([
        "CLASS",
        "TAKEN",
        "",
        "UNSENT",
        "OLDEST",
        "WHEN FULL",
    ]))
}

fn table(status: &Status, area: Rect, palette: &Palette) -> Table<'static> {
    let row = |source: &SourceStatus| {
        let tone = match source.state.as_str() {
            "running" => Tone::Good,
            "waiting" if source.last_error.is_some() => Tone::Wrong,
            _ => Tone::Look,
        };
        Row::new([
            Cell::from(source.id.clone()),
            Cell::from(palette.span(tone, source.state.clone())),
            Cell::from(count(source.readings)),
            Cell::from(rate(source.readings_per_second)),
            Cell::from(source.last_reading_ms.map(|at| age(status.now_ms - at)).unwrap_or_default()),
            Cell::from(count(source.failures)),
            Cell::from(source.last_error.clone().unwrap_or_default()),
        ])
    };
    // Title and heading are not rows; what does not fit is said in the last one.
    let room = usize::from(area.height.saturating_sub(2));
    let hidden = status.sources.len().saturating_sub(room);
    let shown = if hidden == 0 { room } else { room.saturating_sub(1) };
    let mut rows: Vec<Row<'static>> = status.sources.iter().take(shown).map(row).collect();
    if hidden > 0 {
        rows.push(Row::new([Cell::from(format!("and {} more", hidden + 1))]));
    }
    let widths = [
        first(status.sources.iter().map(|source| source.id.len())),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    Table::new(rows, widths).header(heading(["SOURCE", "STATE", "READINGS", "RATE", "LAST", "FAILED", "LAST ERROR"]))
}

/// The first column is as wide as what is in it, and the last to give way on a small screen.
fn first(lengths: impl Iterator<Item = usize>) -> Constraint {
    Constraint::Min(lengths.max().unwrap_or(0).clamp(8, 28) as u16)
}

fn heading<const N: usize>(words: [&'static str; N]) -> Row<'static> {
    Row::new(words).style(Style::default().add_modifier(Modifier::DIM))
}

fn foot(status: &Status) -> Line<'static> {
    let of = |name: &str| rate(status.rates.get(name).copied().unwrap_or(0.0));
    Line::from(format!(
        "q leaves   readings accepted {}  records shipped {}  batches {}",
        of("readings_accepted"),
        of("units_shipped"),
        of("batches_shipped")
    ))
}
