//! Findings at length: what each code means, a spec that causes it, and what to do. The texts are Markdown, one file a
//! code in `explained/`, for a terminal and for the page of all codes. An example stands alone where it has a
//! `[warehouse]`, and otherwise is written below the shop that all of them share.

use super::Code;

/// The spec below which examples are written.
pub const SHOP: &str = include_str!("explained/shop.toml");

/// A block of an explanation: what it is (`toml`, `toml before`, `sql daily.sql`), and its text.
pub type Block = (&'static str, String);

/// The examples of a code, in their order.
pub fn examples(code: Code) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in code.explanation().lines() {
        match (line.strip_prefix("```"), is_open) {
            (Some(_), true) => is_open = false,
            (Some(word), false) => {
                is_open = true;
                blocks.push((word, String::new()));
            }
            (None, true) => {
                if let Some((_, text)) = blocks.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    blocks
}

/// A whole spec: an example, below the shop unless it is one itself.
pub fn spec(example: &str) -> String {
    match example.contains("[warehouse]") {
        true => example.to_owned(),
        false => format!("{SHOP}\n{example}"),
    }
}

/// For a terminal: code and meaning, then the text with its examples indented.
pub fn told(code: Code) -> String {
    let mut text = format!("{}: {}\n\n", code.number(), code.meaning());
    let mut is_open = false;
    for line in code.explanation().lines() {
        if let Some(word) = line.strip_prefix("```") {
            is_open = !is_open;
            let what = word.split_once(' ').map_or("", |(_, what)| what);
            if is_open && !what.is_empty() {
                text.push_str(&format!("    # {what}\n"));
            }
            continue;
        }
        let indent = if is_open && !line.is_empty() { "    " } else { "" };
        text.push_str(&format!("{indent}{line}\n"));
    }
    text
}

/// All codes, a line each.
pub fn listed() -> String {
    Code::ALL.iter().map(|code| format!("{}  {}\n", code.number(), code.meaning())).collect()
}

/// The page of all codes.
pub fn page() -> String {
    let mut page = format!(
        "# Findings\n\n\
         What `medallion check` and `medallion generate` find in a spec, by the codes of the findings. A code keeps its\n\
         meaning for ever. `medallion check --explain M0304` tells one of them in the terminal.\n\n\
         Each example is refused with its code, alone where it has a `[warehouse]`, else below this shop:\n\n\
         ```toml\n{SHOP}```\n"
    );
    let mut chapter = "";
    for code in Code::ALL {
        if !code.number().starts_with(chapter) || chapter.is_empty() {
            chapter = &code.number()[..3];
            page.push_str(&format!("\n## {}\n", title(chapter)));
        }
        page.push_str(&format!("\n### {}: {}\n\n{}", code.number(), code.meaning(), code.explanation()));
    }
    page
}

fn title(chapter: &str) -> &'static str {
    match chapter {
        "M00" => "Files",
        "M01" => "The shape of a spec",
        "M02" => "Names",
        "M03" => "What is referred to",
        "M04" => "Types, keys and times",
        "M05" => "SQL",
        "M06" => "What changes",
        _ => unreachable!("each chapter has a title"),
    }
}
