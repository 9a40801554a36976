//! What the jobs measured, as tables in Markdown.

use std::collections::BTreeMap;

/// What a table is about.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    /// How it was measured.
    pub(crate) notes: &'static str,
    pub(crate) metrics: &'static [Metric],
    /// The row that the others are shown in relation to.
    pub(crate) baseline: Option<&'static str>,
}

/// A figure that each job of a table gives. One that is no number is shown as a dash.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// Shown as part of the best job's.
    pub(crate) of_best: bool,
}

pub(crate) const fn metric(name: &'static str) -> Metric {
    Metric { name, of_best: false }
}

/// Where a job's figures stand.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) table: &'static Table,
    pub(crate) row: &'static str,
    /// In a table with columns, each metric is a table of its own; otherwise metrics are columns.
    pub(crate) column: Option<&'static str>,
}

/// What came of a job in each round: its figures, or why there are none.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rounds: Vec<Result<Vec<f64>, String>>,
}

impl Outcome {
    /// A metric by round; `None` where the round failed or did not give it.
    fn figures(&self, metric: usize) -> impl Iterator<Item = Option<f64>> {
        let figure = move |round: &Result<Vec<f64>, _>| round.as_ref().ok()?.get(metric).copied();
        self.rounds.iter().map(move |round| figure(round).filter(|figure| !figure.is_nan()))
    }

    /// The median of a metric; `None` when no round gave one.
    fn median(&self, metric: usize) -> Option<f64> {
        median(self.figures(metric).flatten())
    }

    /// The median of the rounds' ratios to another job.
    fn ratio(&self, base: &Self, metric: usize) -> Option<f64> {
        let both = self.figures(metric).zip(base.figures(metric));
        median(both.filter_map(|(figure, base)| Some(figure? / base?)))
    }

    fn failed(&self) -> bool {
        self.rounds.iter().all(Result::is_err)
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.get((figures.len().max(1) - 1) / 2), figures.get(figures.len() / 2));
    Some(f64::midpoint(*low?, *high?))
}

/// Prints the tables of all jobs, in their order.
pub(crate) fn print(jobs: &[(Place, Outcome)]) {
    let mut tables: Vec<&'static Table> = Vec::new();
    for (place, _) in jobs {
        if !tables.iter().any(|table| std::ptr::eq(*table, place.table)) {
            tables.push(place.table);
        }
    }
    for table in tables {
        let jobs = jobs.iter().filter(|(place, _)| std::ptr::eq(place.table, table));
        let jobs: Vec<_> = jobs.collect();
        println!("\n### {}\n\n{}", table.title, table.notes);
        if jobs.iter().any(|(place, _)| place.column.is_some()) {
            for index in 0..table.metrics.len() {
                print_metric(table, index, &jobs);
            }
        } else {
            print_all_metrics(table, &jobs);
        }
        print_failures(&jobs);
    }
}

/// A table with a metric for each column.
fn print_all_metrics(table: &Table, jobs: &[&(Place, Outcome)]) {
    let heads: Vec<_> = table.metrics.iter().map(|metric| metric.name).collect();
    print_head("", &heads);
    for (place, outcome) in jobs {
        let base = baseline(table, place, jobs);
        let cell = |index| cell(outcome, index, best_of(table, index, jobs), base);
        print_row(place.row, (0..table.metrics.len()).map(cell));
    }
}

/// A table of one metric, unless nobody gave it.
fn print_metric(table: &Table, index: usize, jobs: &[&(Place, Outcome)]) {
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    let mut cells = BTreeMap::new();
    for (place, outcome) in jobs {
        let column = place.column.unwrap_or_default();
        if !columns.contains(&column) {
            columns.push(column);
        }
        if !rows.contains(&place.row) {
            rows.push(place.row);
        }
        let best = best_of(table, index, jobs);
        let cell = cell(outcome, index, best, baseline(table, place, jobs));
        cells.insert((place.row, column), (cell, outcome.median(index)));
    }
    let given =
        |row| columns.iter().any(|column| matches!(cells.get(&(row, *column)), Some((_, Some(_)))));
    // Who never gives a metric has no row in its table.
    let failed = |row| jobs.iter().any(|(place, outcome)| place.row == row && outcome.failed());
    let anybody = rows.iter().any(|row| given(*row));
    rows.retain(|row| given(*row) || (anybody && failed(*row) && index < 3));
    if rows.is_empty() {
        return;
    }
    print_head(table.metrics[index].name, &columns);
    for row in rows {
        let cells = columns.iter().map(|column| cells.get(&(row, *column)));
        print_row(
            row,
            cells.map(|cell| cell.map_or_else(|| "–".to_owned(), |(cell, _)| cell.clone())),
        );
    }
}

fn print_head(corner: &str, heads: &[&str]) {
    println!("\n| {corner} | {} |\n|---{}|", heads.join(" | "), "|---".repeat(heads.len()));
}

/// The library's own rows stand out.
fn print_row(row: &str, cells: impl Iterator<Item = String>) {
    let bold = if row.starts_with("deltawire") { "**" } else { "" };
    let cells: Vec<_> = cells.map(|cell| format!("{bold}{cell}{bold}")).collect();
    println!("| {bold}{row}{bold} | {} |", cells.join(" | "));
}

/// What a metric's figures are shown in relation to.
fn best_of(table: &Table, index: usize, jobs: &[&(Place, Outcome)]) -> Option<f64> {
    let medians = jobs.iter().filter_map(|(_, outcome)| outcome.median(index));
    table.metrics[index].of_best.then(|| medians.fold(f64::MIN_POSITIVE, f64::max))
}

/// What a job is shown in relation to: the table's baseline in the same column.
fn baseline<'a>(
    table: &Table,
    place: &Place,
    jobs: &[&'a (Place, Outcome)],
) -> Option<&'a Outcome> {
    let base = table.baseline.filter(|base| *base != place.row)?;
    let same = |other: &Place| other.row == base && other.column == place.column;
    jobs.iter().find(|(other, _)| same(other)).map(|(_, outcome)| outcome)
}

fn cell(outcome: &Outcome, index: usize, best: Option<f64>, base: Option<&Outcome>) -> String {
    let ratio = base.and_then(|base| outcome.ratio(base, index)).filter(|ratio| ratio.is_finite());
    match (outcome.median(index), best, ratio) {
        _ if outcome.failed() => "failed".to_owned(),
        (Some(figure), Some(best), _) => format!("{:.2}", figure / best),
        (Some(figure), None, Some(ratio)) => format!("{} ({} ×)", number(figure), number(ratio)),
        (Some(figure), None, None) => number(figure),
        (None, ..) => "–".to_owned(),
    }
}

fn print_failures(jobs: &[&(Place, Outcome)]) {
    for (place, outcome) in jobs {
        let rounds = outcome.rounds.len();
        let mut failures = outcome.rounds.iter().filter_map(|round| round.as_ref().err());
        let Some(failure) = failures.next() else { continue };
        let (row, column) = (place.row, place.column.unwrap_or_default());
        let failed = 1 + failures.count();
        let name = format!("{row} {column}");
        println!("\n{}: {failed} of {rounds} rounds failed: {failure}", name.trim_end());
    }
}

/// Three digits, or all before the point, in groups.
fn number(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{figure:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}
