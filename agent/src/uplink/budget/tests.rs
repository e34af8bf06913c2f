use weir_storage::FaultyFs;

use super::*;
use crate::queue::ClassId;

/// Saturday, 21 November 2026, noon, UTC.
const NOON: i64 = 1_795_262_400;
const HOUR: i64 = 3600;
const LIMIT: u64 = 1 << 20;
const ALARM: OpenClasses = OpenClasses::one(ClassId(1));
const DEFAULT: OpenClasses = OpenClasses::one(ClassId::DEFAULT);

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn limited() -> BudgetOptions {
    BudgetOptions { bytes_per_day: Some(LIMIT), exempt: ALARM, ..BudgetOptions::default() }
}

fn open(disk: &FaultyFs, options: BudgetOptions, seconds: i64) -> Budget {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let _ = fs.create_dir(Path::new("/agent"));
    Budget::open(&fs, Path::new("/agent"), options, at(seconds)).expect("a good disk")
}

fn spend(budget: &mut Budget, bytes: usize, seconds: i64) {
    budget.publish(bytes, at(seconds));
    if let Some(portion) = budget.portion() {
        portion.save().expect("a good disk");
    }
}

#[test]
fn over_the_budget_only_exempt_classes_go_until_midnight() {
    let disk = FaultyFs::new(1);
    let mut budget = open(&disk, limited(), NOON);
    while budget.may_tell(at(NOON)) {
        assert_eq!(budget.open_classes(at(NOON)), OpenClasses::ALL);
        assert!(budget.usage().expect("a limit").used < LIMIT);
        spend(&mut budget, 60 << 10, NOON);
    }
    assert_eq!(budget.open_classes(at(NOON)), ALARM);
    let wait = budget.until_change(at(NOON)).expect("midnight comes");
    let midnight = NOON + 12 * HOUR;
    assert_eq!(wait.as_secs() as i64, 12 * HOUR);
    assert_eq!(budget.open_classes(at(midnight - 1)), ALARM);
    assert_eq!(budget.open_classes(at(midnight)), OpenClasses::ALL);
    assert_eq!((budget.usage().expect("a limit").used, budget.until_change(at(midnight))), (0, None));
}

#[test]
fn a_restart_forgets_nothing_and_costs_at_most_a_portion() {
    let mut disk = FaultyFs::new(1);
    let (mut spent, mut counted) = (0, 0);
    for _ in 0..5 {
        let mut budget = open(&disk, limited(), NOON);
        let before = budget.usage().expect("a limit").used;
        assert!(before >= counted, "{before} counted after a crash, {counted} before it");
        assert!(before - counted <= LEAST_PORTION, "{before} counted after a crash, {counted} before it");
        for _ in 0..10 {
            spend(&mut budget, 1000, NOON);
            spent += 1000;
        }
        counted = budget.usage().expect("a limit").used;
        assert!(counted >= spent);
        disk = disk.power_cut();
    }
    let mut tomorrow = open(&disk, limited(), NOON + 24 * HOUR);
    tomorrow.may_tell(at(NOON + 24 * HOUR));
    assert_eq!(tomorrow.usage().expect("a limit").used, 0);
}

/// A board without a clock of its own starts in 1970 until it has heard of the time.
#[test]
fn a_clock_that_goes_back_begins_no_day() {
    let disk = FaultyFs::new(1);
    let mut budget = open(&disk, limited(), NOON);
    spend(&mut budget, LIMIT as usize, NOON);
    let mut budget = open(&disk, limited(), 0);
    assert_eq!(budget.open_classes(at(0)), ALARM);
    assert_eq!(budget.open_classes(at(3 * 24 * HOUR)), ALARM, "days of a wrong clock");
    assert_eq!(budget.open_classes(at(NOON + HOUR)), ALARM, "the same day, now that it is known");
    assert_eq!(budget.open_classes(at(NOON + 13 * HOUR)), OpenClasses::ALL);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_shuts_the_link_for_a_day_of_running_at_most() {
    let disk = FaultyFs::new(1);
    let mut budget = open(&disk, limited(), 100 * NOON / 90);
    spend(&mut budget, LIMIT as usize, 100 * NOON / 90);
    assert_eq!(budget.open_classes(at(NOON)), ALARM);
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(budget.open_classes(at(NOON + 24 * HOUR)), OpenClasses::ALL);
}

#[test]
fn a_class_goes_in_its_hours_and_others_always() {
    let night = (DEFAULT, Hours::parse("22:00-06:00").expect("hours"));
    // Two hours ahead: noon is at 14:00 there.
    let options = BudgetOptions { hours: vec![night], utc_offset: UtcOffset(120), ..BudgetOptions::default() };
    let disk = FaultyFs::new(1);
    let mut budget = open(&disk, options, NOON);
    assert!(!budget.open_classes(at(NOON)).has(ClassId::DEFAULT) && budget.open_classes(at(NOON)).has(ClassId(1)));
    assert!(budget.may_tell(at(NOON)), "hours are of classes alone");
    let wait = budget.until_change(at(NOON + 30)).expect("the night comes");
    assert_eq!(wait.as_secs() as i64, 8 * HOUR - 30);
    assert!(!budget.open_classes(at(NOON + 8 * HOUR - 1)).has(ClassId::DEFAULT));
    assert!(budget.open_classes(at(NOON + 8 * HOUR)).has(ClassId::DEFAULT));
    assert!(budget.open_classes(at(NOON + 16 * HOUR - 1)).has(ClassId::DEFAULT));
    assert!(!budget.open_classes(at(NOON + 16 * HOUR)).has(ClassId::DEFAULT));
}

#[test]
fn a_damaged_file_neither_shuts_the_link_nor_opens_it_wide() {
    let disk = FaultyFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let _ = fs.create_dir(Path::new("/agent"));
    let file = StateFile::new(Arc::clone(&fs), &Path::new("/agent").join(BUDGET_FILE));
    file.replace(b"of another program").expect("a good disk");
    let mut budget = open(&disk, limited(), NOON);
    assert_eq!(budget.usage().expect("a limit").used, LIMIT / 2);
    assert!(budget.may_tell(at(NOON)));
}

/// Whatever the file says is counted with: a sum past the last number ended the agent at every start.
#[test]
fn a_file_that_says_more_than_can_be_counted_is_a_day_that_is_used_up() {
    let disk = FaultyFs::new(1);
    drop(open(&disk, limited(), NOON));
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let file = StateFile::new(fs, &Path::new("/agent").join(BUDGET_FILE));
    file.replace(&encode(day(at(NOON), UtcOffset::default()), u64::MAX)).expect("a good disk");
    let mut budget = open(&disk, limited(), NOON);
    spend(&mut budget, 60 << 10, NOON);
    assert_eq!(budget.open_classes(at(NOON)), ALARM);
    assert!(!budget.may_tell(at(NOON)) && budget.may_tell(at(NOON + 12 * HOUR)));
}
