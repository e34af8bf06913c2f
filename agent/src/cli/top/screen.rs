//! What the screen shows, from top to bottom: who and how; the way to the gateway; the queue; the sources. What goes
//! wrong is red, what needs a look is yellow; without colour it is bold, and the words say it anyway.
//!
//! On a small screen less is said of each thing, and everything is still there: whether all is well, the way, the queue, and
//! the sources, those that fail first.

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

/// The bar of a queue, in columns, and on a narrow screen.
const BAR: usize = 20;
/// See [`BAR`].
const NARROW_BAR: usize = 8;
/// The columns of the tables on a narrow screen: class, bar, unsent; source, state, rate.
const QUEUE_NARROW: [usize; 3] = [0, 1, 3];
/// See [`QUEUE_NARROW`].
const SOURCES_NARROW: [usize; 3] = [0, 1, 3];
/// The time from a batch to its acknowledgement is no silence, on most links.
const SILENT_MS: u64 = 1000;
/// Columns below which tables have fewer of their own.
const NARROW: u16 = 78;
/// Rows that sources have at least, with their heading, before less is said of the uplink.
const MIN_SOURCES: u16 = 4;
/// Rows of the uplink that are the last to go: the gateway, and what it acknowledged.
const MIN_UPLINK: u16 = 2;
/// Rows of one reason why something is wrong.
const MAX_FOLDED: usize = 3;
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

/// Rows that everything takes on a screen so wide.
pub(super) fn height(status: &Status, width: u16) -> u16 {
    let rows = head(status, None, width, &Palette { color: false }).len()
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
    let area = frame.area();
    let head = head(status, look.trouble.as_deref(), area.width, &palette);
    let mut uplink = uplink(status, &palette);
    // Three titles, the heading of the queue and the last line.
    let others = head.len() + status.queue.classes.len() + 4;
    let room = area.height.saturating_sub(others as u16).saturating_sub(MIN_SOURCES).max(MIN_UPLINK);
    uplink.truncate(usize::from(room));
    let rows = |lines: usize| Constraint::Length(lines as u16);
    let parts =
        [rows(head.len()), rows(uplink.len() + 1), rows(status.queue.classes.len() + 2), Constraint::Min(2), rows(1)];
    let [top, middle, queued, sources, last] = Layout::vertical(parts).areas(area);
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(Paragraph::new(uplink).block(palette.title("uplink")), middle);
    frame.render_widget(queue(status, area.width, &palette).block(palette.title("queue")), queued);
    frame.render_widget(table(status, sources, &palette).block(palette.title("sources")), sources);
    frame.render_widget(Paragraph::new(foot(status)), last);
}

/// Who it is, and whether all is well.
fn head(status: &Status, trouble: Option<&str>, width: u16, palette: &Palette) -> Vec<Line<'static>> {
    let name = Span::styled(format!("{}  ", status.agent), Style::default().add_modifier(Modifier::BOLD));
    let remote = status.remote.map_or(String::new(), |remote| {
        format!("  remote settings {}{}", remote.version, if remote.on_trial { " on trial" } else { "" })
    });
    let up = age(status.uptime_s as i64 * 1000);
    let more = format!("  up {up}{remote}  weir-agent {}  process {}", status.version, status.pid);
    let well = match (trouble, status.reasons.len()) {
        (Some(_), _) => palette.span(Tone::Wrong, "no answer"),
        (None, 0) => palette.span(Tone::Good, "healthy"),
        (None, _) => palette.span(Tone::Wrong, "not healthy"),
    };
    let mut lines = vec![Line::from(vec![name, well, Span::raw(more)])];
    let whys = trouble.into_iter().chain(status.reasons.iter().map(String::as_str));
    let folded = whys.flat_map(|why| fold(why, usize::from(width.saturating_sub(2))));
    lines.extend(folded.map(|why| Line::from(palette.span(Tone::Wrong, format!("  {why}")))));
    lines
}

/// A text in lines of at most `width` characters, broken between words where there are any, [`MAX_FOLDED`] of them.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if last == 0 => line.push_str(word),
            Some(line) if last + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.truncate(MAX_FOLDED);
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

fn queue(status: &Status, width: u16, palette: &Palette) -> Table<'static> {
    let (is_narrow, bar_columns) = if width < NARROW { (true, NARROW_BAR) } else { (false, BAR) };
    let row = |class: &crate::queue::ClassFacts| {
        let share = if class.cap == 0 { 0.0 } else { class.allocated as f64 / class.cap as f64 };
        let tone = if share > 0.9 {
            Tone::Wrong
        } else if share > 0.5 {
            Tone::Look
        } else {
            Tone::Plain
        };
        let full = ((share * bar_columns as f64).round() as usize).min(bar_columns);
        let bar = format!("[{}{}] {:>3.0} %", "#".repeat(full), "-".repeat(bar_columns - full), share * 100.0);
        let cells = vec![
            Cell::from(class.name.clone()),
            Cell::from(palette.span(tone, bar)),
            Cell::from(format!("{} of {}", bytes(class.allocated), bytes(class.cap))),
            Cell::from(count(class.unshipped)),
            Cell::from(class.oldest_unshipped_ms.map(age).unwrap_or_default()),
            Cell::from(class.policy.clone()),
        ];
        Row::new(some(cells, &QUEUE_NARROW, is_narrow))
    };
    let widths = vec![
        first(status.queue.classes.iter().map(|class| class.name.len())),
        Constraint::Length(bar_columns as u16 + 8),
        Constraint::Length(22),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let words = vec!["CLASS", "TAKEN", "", "UNSENT", "OLDEST", "WHEN FULL"];
    Table::new(status.queue.classes.iter().map(row), some(widths, &QUEUE_NARROW, is_narrow)).header(heading(some(
        words,
        &QUEUE_NARROW,
        is_narrow,
    )))
}

/// The columns that a narrow table has, or all of them.
fn some<T>(all: Vec<T>, columns: &[usize], is_narrow: bool) -> Vec<T> {
    let is_shown = |at: &usize| !is_narrow || columns.contains(at);
    all.into_iter().enumerate().filter(|(at, _)| is_shown(at)).map(|(_, one)| one).collect()
}

fn table(status: &Status, area: Rect, palette: &Palette) -> Table<'static> {
    let is_narrow = area.width < NARROW;
    let row = |source: &SourceStatus| {
        let tone = match source.state.as_str() {
            "running" => Tone::Good,
            _ if fails(source) => Tone::Wrong,
            _ => Tone::Look,
        };
        let cells = vec![
            Cell::from(source.id.clone()),
            Cell::from(palette.span(tone, source.state.clone())),
            Cell::from(count(source.readings)),
            Cell::from(rate(source.readings_per_second)),
            Cell::from(source.last_reading_ms.map(|at| age(status.now_ms - at)).unwrap_or_default()),
            Cell::from(count(source.failures)),
            Cell::from(source.last_error.clone().unwrap_or_default()),
        ];
        Row::new(some(cells, &SOURCES_NARROW, is_narrow))
    };
    let mut sources: Vec<&SourceStatus> = status.sources.iter().collect();
    sources.sort_by_key(|source| !fails(source));
    // Title and heading are not rows; what does not fit is said in the last one.
    let room = usize::from(area.height.saturating_sub(2));
    let hidden = status.sources.len().saturating_sub(room);
    let shown = if hidden == 0 { room } else { room.saturating_sub(1) };
    let mut rows: Vec<Row<'static>> = sources.into_iter().take(shown).map(row).collect();
    if hidden > 0 {
        rows.push(Row::new([Cell::from(format!("and {} more", hidden + 1))]));
    }
    let widths = vec![
        first(status.sources.iter().map(|source| source.id.len())),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    let words = vec!["SOURCE", "STATE", "READINGS", "RATE", "LAST", "FAILED", "LAST ERROR"];
    Table::new(rows, some(widths, &SOURCES_NARROW, is_narrow)).header(heading(some(words, &SOURCES_NARROW, is_narrow)))
}

/// Whether a source does not run, because of what went wrong.
fn fails(source: &SourceStatus) -> bool {
    source.state != "running" && source.last_error.is_some()
}

/// The first column is as wide as what is in it.
fn first(lengths: impl Iterator<Item = usize>) -> Constraint {
    Constraint::Length(lengths.max().unwrap_or(0).clamp(8, 28) as u16)
}

fn heading(words: Vec<&'static str>) -> Row<'static> {
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

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::queue::ClassFacts;

    fn source(at: usize, state: &str, last_error: Option<&str>) -> SourceStatus {
        let last_error = last_error.map(str::to_owned);
        SourceStatus {
            id: format!("exec.machine-{at}"),
            state: state.to_owned(),
            last_error,
            ..SourceStatus::default()
        }
    }

    fn shown(status: &Status, trouble: Option<&str>, (columns, rows): (u16, u16)) -> Vec<String> {
        let look = Look { status: Some(status.clone()), trouble: trouble.map(str::to_owned) };
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let drawn = terminal.draw(|frame| draw(frame, &look, false)).unwrap();
        let line = |y| (0..columns).map(|x| drawn.buffer.cell((x, y)).unwrap().symbol()).collect::<String>();
        (0..rows).map(|y| line(y).trim_end().to_owned()).collect()
    }

    fn busy() -> Status {
        let mut status = Status { agent: "edge-1".to_owned(), version: "0.1.0".to_owned(), ..Status::default() };
        status.queue.classes = vec![ClassFacts { name: "default".to_owned(), cap: 100, ..ClassFacts::default() }];
        status.uplink.last_error = Some("refused".to_owned());
        status.sources = (0..60).map(|at| source(at, "running", None)).collect();
        status.sources[50] = source(50, "waiting", Some("no such line"));
        status
    }

    #[test]
    fn a_small_screen_shows_whether_all_is_well_and_what_fails() {
        let lines = shown(&busy(), None, (40, 12));
        assert!(lines[0].starts_with("edge-1  healthy  up "), "{lines:#?}");
        assert!(lines[1].starts_with(" uplink") && lines[2].starts_with("gateway"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("default  [--------]   0 % ")), "{lines:#?}");
        let sources = lines.iter().position(|line| line.starts_with("SOURCE")).unwrap();
        assert_eq!(lines[sources].split_whitespace().collect::<Vec<_>>(), ["SOURCE", "STATE", "RATE"]);
        assert!(lines[sources + 1].starts_with("exec.machine-50 "), "{lines:#?}");
        let lines = shown(&busy(), Some("unix:/var/lib/weir/agent/agent.sock: no such file; is it running?"), (40, 14));
        assert!(lines[0].starts_with("edge-1  no answer"), "{lines:#?}");
        assert!(lines[2].ends_with("it running?"), "{lines:#?}");
    }

    #[test]
    fn a_wide_screen_gives_its_room_to_what_went_wrong() {
        let lines = shown(&busy(), None, (250, 30));
        let source = lines.iter().find(|line| line.starts_with("exec.machine-50 ")).unwrap();
        assert!(source.find("no such line").is_some_and(|at| at < 100), "{source}");
        assert!(lines.iter().any(|line| line.starts_with("and 4")), "{lines:#?}");
    }
}
