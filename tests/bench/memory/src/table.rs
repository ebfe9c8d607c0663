//! Tables in Markdown.

pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: ToString>(header: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![cells(header)] }
    }

    pub fn row<S: ToString>(&mut self, row: impl IntoIterator<Item = S>) {
        self.rows.push(cells(row));
    }

    /// Prints it under its title, with a line that says what it shows.
    pub fn print(&self, title: &str, about: &str) {
        println!("\n### {title}\n\n{about}\n");
        let widths = self.widths();
        self.print_row(&self.rows[0], &widths);
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        self.print_row(&rule, &widths);
        self.rows[1..].iter().for_each(|row| self.print_row(row, &widths));
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (0..self.rows[0].len()).map(width).collect()
    }

    fn print_row(&self, row: &[String], widths: &[usize]) {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
    }
}

fn cells<S: ToString>(row: impl IntoIterator<Item = S>) -> Vec<String> {
    row.into_iter().map(|cell| cell.to_string()).collect()
}
