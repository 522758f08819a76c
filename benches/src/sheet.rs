use std::path::{Path, PathBuf};

use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::machine::Machine;

/// A table as it grows.
pub struct Sheet {
    header: &'static [&'static str],
    /// Columns that hold numbers.
    numbers: &'static [usize],
    lines: Vec<Vec<String>>,
}

impl Sheet {
    #[must_use]
    pub fn new(header: &'static [&'static str], numbers: &'static [usize]) -> Self {
        Self {
            header,
            numbers,
            lines: Vec::new(),
        }
    }

    pub fn push(&mut self, line: impl Into<Vec<String>>) {
        self.lines.push(line.into());
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The rows from here on are new.
    pub(crate) fn since(&self, from: usize) -> Table {
        self.table(NOTHING, &self.lines[from..])
    }

    /// Prints the whole table, and records it if requested.
    pub fn finish(&self, name: &str, machine: &Machine, last: &str, record: bool) {
        let table = self.table(NOTHING, &self.lines);
        println!("{machine}\n\n{table}\n{last}");
        if record {
            let table = self.table(ASCII_MARKDOWN, &self.lines);
            let date = &machine.date;
            let machine = machine.to_string().replace('\n', "  \n");
            let text = format!("# {name}, {date}\n\n{machine}\n\n{table}\n\n{last}\n");
            write(name, date, &text);
        }
    }

    fn table(&self, preset: &str, lines: &[Vec<String>]) -> Table {
        let mut table = Table::new();
        table
            .load_preset(preset)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.header);
        let mut last = "";
        for line in lines {
            // A group's name is printed once.
            let again = !line[0].is_empty() && line[0] == last;
            if !line[0].is_empty() {
                last = &line[0];
            }
            let name = if again { "" } else { &*line[0] };
            let rest = line[1..].iter().map(|cell| &**cell);
            table.add_row(std::iter::once(name).chain(rest));
        }
        for &column in self.numbers {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

/// Writes a record, beside those of the same day.
fn write(name: &str, date: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("record");
    let path = |n: u32| -> PathBuf {
        let nth = if n == 1 {
            String::new()
        } else {
            format!("-{n}")
        };
        folder.join(format!("{date}-{name}{nth}.md"))
    };
    let free = (1..).map(path).find(|path| !path.exists()).unwrap();
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&free, text));
    match written {
        Ok(()) => println!("recorded in {}", free.display()),
        Err(error) => eprintln!("{}: {error}", free.display()),
    }
}
