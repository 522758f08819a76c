//! The page of the guide shows the code that is run.

use seawall_clients::contender::CONTENDERS;

const PAGE: &str = include_str!("../../../src/guide/clients.md");

/// What stands between two comments, without its indentation.
fn parts(source: &str) -> impl Iterator<Item = String> {
    source.split("// On the page:\n").skip(1).map(|part| {
        let part = part.split("// To here.").next().unwrap_or_default();
        let part = part.trim_end();
        let indentation = part.len() - part.trim_start().len();
        let lines = part
            .lines()
            .map(|line| line.get(indentation..).unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n") + "\n"
    })
}

#[test]
fn the_page_has_the_code_of_the_other_ways() {
    let sources = [
        include_str!("reqwest_012.rs"),
        include_str!("middleware.rs"),
    ];
    let parts: Vec<_> = sources.into_iter().flat_map(parts).collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        assert!(PAGE.contains(&part), "{part}");
    }
}

#[test]
fn the_page_has_the_function_of_each_client_and_its_lines() {
    for contender in CONTENDERS {
        let name = contender.name;
        let function = contender.client();
        assert!(PAGE.contains(&function), "{name}:\n{function}");
        let lines = format!(
            "| {name} | {} | {} |",
            contender.lines_of_client(),
            contender.lines()
        );
        assert!(PAGE.contains(&lines), "{lines}");
    }
}
